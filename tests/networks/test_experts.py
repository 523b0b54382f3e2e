"""A joint network for several modalities and an expert for each alone: who sees what, who answers what."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import nn

from bundle.networks import UNSEEN, BranchEnsemble, ModalityExperts
from bundle.networks.experts import drop_modalities
from tests.tiny import tiny_slices

NAMES = ("t1", "t1c", "t2", "flair")
UNET = partial(BasicUNet, spatial_dims=2, out_channels=1, features=(2, 2, 4, 8, 8, 2))


class Scaled(nn.Module):
    """Sum of the channels times a number."""

    def __init__(self, number: float, in_channels: int = 1) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.tensor(number))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.number * image.sum(dim=1, keepdim=True)


def scaled(count: int = 4, **options: object) -> ModalityExperts:
    """A joint network that multiplies by 1 and experts that multiply by 10, 20, ..."""
    numbers = iter([10.0 * place for place in range(1, count + 1)])
    return ModalityExperts(
        Scaled(1.0), NAMES[:count], lambda in_channels: Scaled(next(numbers), in_channels), **options
    )


def unets(count: int = 4, expert: object = UNET) -> BranchEnsemble:
    """As the config makes them."""
    wrap = partial(ModalityExperts, modalities=NAMES[:count], expert=expert)
    return BranchEnsemble(NAMES[:count], UNET, early_fusion=True, wrap=wrap)


@pytest.mark.parametrize("size", [(4, 4), (4, 4, 3)])
def test_a_modality_that_is_alone_goes_to_its_expert_and_others_to_the_joint_network(size):
    image = -torch.ones(4, 4, *size)  # below the tissue's mean, and there
    image[0, 1:] = 0  # t1
    image[1, :3] = 0  # flair
    image[2, 0] = image[2, 2] = 0  # t1c and flair
    found = scaled().eval()(image)
    assert found.shape == (4, 1, *size)
    assert found.flatten(1).unique(dim=1).flatten().tolist() == [-10, -40, -2, -4]


def test_a_slice_of_nothing_goes_to_the_joint_network():
    assert not scaled().eval()(torch.zeros(1, 4, 4, 4)).any()


def test_experts_run_only_where_they_are_needed():
    network, asked = scaled().eval(), []
    for place, expert in enumerate(network.experts):
        expert.register_forward_hook(lambda *_, place=place: asked.append(place))
    network(torch.ones(2, 4, 4, 4))
    assert not asked
    network(torch.eye(4)[:2].reshape(2, 4, 1, 1).expand(2, 4, 4, 4))
    assert asked == [0, 1]


def test_in_training_each_expert_sees_its_modality_in_half_of_the_slices():
    image = torch.randn(5, 4, 4, 4)
    found = scaled(drop_prob=0.0).train()(image)
    assert found.shape == (5, 5, 4, 4)
    torch.testing.assert_close(found[:, 0], image.sum(1))
    for place in range(4):
        own = torch.arange(5) % 2 == place % 2
        torch.testing.assert_close(found[own, 1 + place], 10 * (place + 1) * image[own, place])
        assert (found[~own, 1 + place] == UNSEEN).all()


def test_in_training_modalities_are_dropped_for_the_joint_network_alone():
    image = torch.ones(400, 4, 2, 2)
    found = scaled(drop_prob=1.0).train()(image)
    assert set(found[:, 0].unique().tolist()) == {1, 2, 3}
    assert found[:, 1].unique().tolist() == [UNSEEN, 10]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_expert_gets_a_slice_of_the_smallest_batch(count):
    found = scaled().train()(torch.ones(count, 4, 4, 4))
    assert (found.isfinite().flatten(2).all(dim=2).sum(dim=0) >= 1).all()


def test_the_joint_network_is_the_same_with_experts_and_without():
    states = []
    for expert in (UNET, None):
        torch.manual_seed(3)
        network = unets(expert=expert).train()
        states.append((network.state_dict(), network(torch.ones(2, 4, 32, 32)), torch.rand(1)))
    (state, evidence, drawn), (other, alone, drawn_alone) = states
    assert torch.equal(drawn, drawn_alone)
    assert torch.equal(evidence[:, :1], alone)
    assert all(torch.equal(state[name], value) for name, value in other.items())
    assert any(".experts.3." in name for name in state)


def test_experts_are_not_alike():
    first, second = unets(count=2).branches[0].experts
    assert not torch.equal(first.conv_0.conv_0.conv.weight, second.conv_0.conv_0.conv.weight)


def test_one_modality_needs_no_expert():
    network, image = unets(count=1), torch.randn(2, 1, 32, 32)
    assert len(network.branches[0].experts) == 0
    assert network.train()(image).shape == network.eval()(image).shape == (2, 1, 32, 32)


def test_torchscript_gives_the_same_evidence_of_any_subset():
    network = unets().eval()
    scripted = torch.jit.script(network)
    image = torch.randn(3, 4, 32, 32)
    image[1, 1:] = 0
    image[2, :2] = 0
    torch.testing.assert_close(scripted(image), network(image), rtol=0, atol=0)


def test_a_recorded_graph_serves_subsets_that_its_example_lacks():
    network = unets().eval()
    image = torch.randn(3, 4, 32, 32)
    traced = torch.jit.trace(network, image)
    program = torch.export.export(network, (image,)).module()
    image[1, 1:] = 0
    image[2, :2] = 0
    for recorded in (traced, program):
        torch.testing.assert_close(recorded(image), network(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_another_number_of_channels_is_refused(training):
    with pytest.raises(
        ValueError, match=r"expected 4 channels, one a modality, got 1; leave early_fusion true"
    ):
        scaled().train(training)(torch.ones(2, 1, 4, 4))


@pytest.mark.parametrize("training", [True, False])
def test_experts_of_another_number_of_channels_are_refused(training):
    network = unets(count=2, expert=partial(UNET, out_channels=2)).train(training)
    image = torch.ones(2, 2, 32, 32)
    image[0, 1] = 0
    with pytest.raises(
        ValueError, match=r"experts of 1 channels, as the joint .* got 2; change `wrap#expert`"
    ):
        network(image)


@pytest.mark.parametrize("prob", [-0.1, 1.1])
def test_a_probability_lies_between_0_and_1(prob):
    with pytest.raises(ValueError, match=r"ModalityExperts drop_prob: expected a number in \[0, 1\]"):
        scaled(drop_prob=prob)


def kept(prob: float, count: int = 4, slices: int = 4000) -> torch.Tensor:
    """Which modalities stay, bool (slices, count)."""
    torch.manual_seed(0)
    left = drop_modalities(torch.ones(slices, count, 2, 2), prob)
    assert set(left.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(left, left[:, :, :1, :1].expand_as(left))  # a modality goes as a whole
    return left[:, :, 0, 0] > 0


def test_a_slice_never_loses_all_modalities_and_always_some():
    stay = kept(prob=1.0).sum(1)
    assert stay.min() == 1
    assert stay.max() == 3
    for number in (1, 2, 3):  # each as often: a third of 4000, standard deviation 30
        assert (stay == number).sum() == pytest.approx(4000 / 3, abs=150)


def test_each_modality_goes_as_often_as_another():
    # by probability 1/2, then 3, 2 or 1 of 4: half of them; so each goes in a quarter of the slices
    assert (~kept(prob=0.5)).float().mean(0).tolist() == pytest.approx([0.25] * 4, abs=0.03)


def test_without_probability_nothing_goes():
    assert kept(prob=0.0).all()


def test_a_single_modality_stays():
    image, _, _ = tiny_slices(branches=1)
    assert torch.equal(drop_modalities(image, 1.0), image)


def test_patches_lose_what_slices_would():
    image, _, _ = tiny_slices(branches=3, count=4)
    torch.manual_seed(0)
    expected = drop_modalities(image, 1.0)
    torch.manual_seed(0)
    found = drop_modalities(image[..., None].expand(*image.shape, 5), 1.0)
    assert all(torch.equal(found[..., position], expected) for position in range(5))
