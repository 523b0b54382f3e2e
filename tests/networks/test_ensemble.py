"""Branches stand side by side and share nothing."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from bundle.networks import BranchEnsemble, CamUNet
from tests.tiny import MODALITIES, tiny_network


@pytest.mark.parametrize("branches", [1, 2, 3, 4])
@pytest.mark.parametrize("head_channels", [1, 2])
def test_evidence_comes_branch_by_branch(branches, head_channels):
    network = tiny_network(branches, head_channels=head_channels).eval()
    image = torch.randn(3, branches, 16, 16)
    evidence = network(image)
    assert evidence.shape == (3, branches * head_channels, 16, 16)
    for k, branch in enumerate(network.branches):
        own = evidence[:, k * head_channels : (k + 1) * head_channels]
        torch.testing.assert_close(own, branch(image[:, k : k + 1]))


def test_branches_share_no_weights():
    network = tiny_network(2)
    network(torch.randn(2, 2, 16, 16))[:, 0].square().sum().backward()
    assert network.branches[0].evidence.weight.grad.any()
    assert not any(parameter.grad.any() for parameter in network.branches[1].parameters())
    assert not torch.equal(network.branches[0].encoder[0][0].weight, network.branches[1].encoder[0][0].weight)


def test_early_fusion_is_one_branch_that_sees_all_modalities():
    network = BranchEnsemble(MODALITIES, partial(CamUNet, width=2, levels=1), early_fusion=True).eval()
    image = torch.randn(2, 4, 16, 16)
    assert len(network.branches) == 1
    assert network(image).shape == (2, 1, 16, 16)
    assert torch.equal(network(image), network.branches[0](image))


def test_early_fusion_sees_every_channel():
    network = BranchEnsemble(MODALITIES, partial(CamUNet, width=2, levels=1), early_fusion=True).eval()
    image = torch.randn(1, 4, 16, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(image).sum(), image)
    assert (gradient.abs().amax(dim=(0, 2, 3)) > 0).all()


def test_channels_last_gives_the_same_evidence():
    network, image = tiny_network(2).double().eval(), torch.randn(2, 2, 16, 16, dtype=torch.float64)
    expected = network(image)
    last = torch.channels_last
    found = network.to(memory_format=last)(image.contiguous(memory_format=last))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_another_number_of_channels_is_refused_by_name():
    with pytest.raises(ValueError, match=r"expected 2 channels \(t1, t1c\), got 3; `modalities`"):
        tiny_network(2)(torch.randn(1, 3, 16, 16))


@pytest.mark.parametrize("modalities", [[], "flair"])
def test_modalities_are_a_list_with_at_least_one_name(modalities):
    with pytest.raises(ValueError, match="a list of at least one name"):
        BranchEnsemble(modalities, CamUNet)


def test_maps_are_named_after_the_branches():
    branch = partial(CamUNet, width=2, levels=1)
    assert BranchEnsemble(["flair", "t1c"], branch).map_names == ["flair", "t1c"]
    assert BranchEnsemble(["flair"], branch).map_names == ["flair"]
    assert BranchEnsemble(["flair", "t1c"], branch, early_fusion=True).map_names == ["early_fusion"]
