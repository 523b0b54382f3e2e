"""The training pass shows every branch both views, draws by seed, and goes on where it stopped."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from bundle.data import IntensityJitter
from bundle.data.normalisation import SliceNormalization
from bundle.equivariance import Views, Warp, WarpPolicy
from bundle.handlers.run_state import RandomState
from bundle.inferers import CamReader, TwoViewInferer
from bundle.networks import BranchEnsemble, Readout
from bundle.pooling import AveragePooling
from tests.tiny import MODALITIES, tiny_network, tiny_reader, tiny_slices

TENSORS = ("plain_logits", "warped_logits", "plain_cams", "warped_cams", "field_of_view")


class PointwiseBranch(nn.Module):
    """A branch that treats each pixel alone, so it is equivariant by construction."""

    def __init__(self, in_channels: int, slope: float = 2.0) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.slope * image - 0.3


def pointwise(branches: int = 2) -> BranchEnsemble:
    return BranchEnsemble(MODALITIES[:branches], PointwiseBranch)


def make(seed: int = 0, normalise=None, views_in_one_batch: bool = False, **policy) -> TwoViewInferer:
    reader = tiny_reader()
    return TwoViewInferer(WarpPolicy(**policy), reader, normalise, seed, views_in_one_batch)


def equal(first: Views, second: Views) -> bool:
    return all(torch.equal(getattr(first, f), getattr(second, f)) for f in TENSORS)


@pytest.mark.parametrize("branches", [1, 2, 3, 4])
@pytest.mark.parametrize("head_channels", [1, 2])
def test_views_have_one_map_and_logit_a_branch(branches, head_channels):
    image, foreground, _ = tiny_slices(branches)
    network = tiny_network(branches, head_channels=head_channels)
    inferer = TwoViewInferer(WarpPolicy(compose=True), tiny_reader(head_channels=head_channels))
    views = inferer(image, network, foreground)
    assert views.plain_logits.shape == views.warped_logits.shape == (4, branches)
    assert views.plain_cams.shape == views.warped_cams.shape == (4, branches, 16, 16)
    assert views.field_of_view.shape == (4, 1, 16, 16)
    assert views.plain_cams.min() >= 0
    assert views.plain_cams.max() <= 1


@pytest.mark.parametrize("kinds", [["flip"], ["rotate"], ["flip", "rotate"]])
def test_an_equivariant_network_shows_both_views_alike(kinds):
    image, foreground, _ = tiny_slices(dtype=torch.float64)
    views = make(kinds=kinds, compose=True)(image, pointwise(), foreground)
    assert torch.equal(views.plain_cams, views.warped_cams)
    torch.testing.assert_close(views.plain_logits, views.warped_logits)
    assert (views.field_of_view == 1).all()
    assert not torch.equal(views.plain_cams, tiny_reader().cams(pointwise()(image), foreground))


def test_a_shift_moves_image_foreground_and_maps_together():
    image, foreground, _ = tiny_slices(dtype=torch.float64)
    inferer = make(kinds=["translate"])
    inferer.policy.draw = two_pixels_right
    views = inferer(image, pointwise(), foreground)
    torch.testing.assert_close(views.plain_cams, views.warped_cams, rtol=0, atol=1e-6)
    assert views.field_of_view[0, 0, 0].tolist() == [0.0, 0.0] + [1.0] * 14


def two_pixels_right(batch: int) -> Warp:
    """A shift that the empty border of the foreground takes up."""
    shift = np.tile([[[1.0, 0.0, -2 * 2 / 16], [0.0, 1.0, 0.0]]], (batch, 1, 1))
    return Warp(np.zeros(batch, dtype=int), np.zeros(batch, dtype=bool), shift)


def test_slices_are_normalised_after_the_warp():
    seen = []

    def normalise(image: torch.Tensor) -> torch.Tensor:
        seen.append(image)
        return SliceNormalization()(image)

    image, foreground, _ = tiny_slices()
    make(kinds=["translate"], normalise=normalise)(image, pointwise(), foreground)
    plain, warped = seen
    assert torch.equal(plain, image)
    warp = WarpPolicy(kinds=["translate"]).set_random_state(0).draw(4)
    assert torch.equal(warped, warp.apply(image))


def test_same_seed_same_views_and_another_seed_others():
    image, foreground, _ = tiny_slices()
    network = tiny_network().eval()
    first, same, other = (make(seed)(image, network, foreground) for seed in (3, 3, 4))
    assert equal(first, same)
    assert not equal(first, other)


def test_draws_go_on_from_a_state_that_was_saved_and_loaded(tmp_path):
    image, foreground, _ = tiny_slices()
    network = tiny_network().eval()
    run = partial(TwoViewInferer.__call__, inputs=image, network=network, foreground=foreground)
    first, second = make(seed=1, compose=True), make(seed=2, compose=True)
    run(first)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    expected = [run(first) for _ in range(3)]
    run(second)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert all(equal(run(second), views) for views in expected)


def test_a_state_keeps_the_half_of_a_normal_pair_that_numpy_holds_back():
    first, second = make(seed=1), make(seed=2)
    first.policy.R.standard_normal()  # leaves its twin in the state
    second.load_state_dict(first.state_dict())
    assert second.policy.R.standard_normal() == first.policy.R.standard_normal()


def test_both_views_in_one_batch_are_the_same_views_in_evaluation():
    image, foreground, _ = tiny_slices(dtype=torch.float64)
    network = tiny_network().double().eval()
    apart = make(compose=True)(image, network, foreground)
    together = make(compose=True, views_in_one_batch=True)(image, network, foreground)
    for field in TENSORS:
        torch.testing.assert_close(getattr(together, field), getattr(apart, field))


def test_the_warped_view_alone_is_the_one_that_two_views_have():
    image, foreground, _ = tiny_slices(dtype=torch.float64)
    network = tiny_network().double().eval()
    both = make(compose=True)(image, network, foreground)
    alone = TwoViewInferer(WarpPolicy(compose=True), tiny_reader(), plain_view=False)(
        image, network, foreground
    )
    assert torch.equal(alone.warped_logits, both.warped_logits)
    assert torch.equal(alone.warped_cams, both.warped_cams)
    assert torch.equal(alone.field_of_view, both.field_of_view)
    assert alone.evidence.plain is alone.evidence.warped
    assert torch.equal(alone.evidence.warped, both.evidence.warped)
    assert np.array_equal(alone.evidence.warp.matrix, both.evidence.warp.matrix)


def test_the_warped_view_alone_takes_one_forward_pass():
    passes = []
    network = pointwise()
    network.register_forward_hook(lambda *_: passes.append(1))
    image, foreground, _ = tiny_slices()
    TwoViewInferer(WarpPolicy(), tiny_reader(), plain_view=False)(image, network, foreground)
    assert len(passes) == 1


def test_half_precision_ends_with_the_network():
    image, foreground, _ = tiny_slices()
    views = TwoViewInferer(WarpPolicy(), tiny_reader(), precision="bfloat16")(
        image, tiny_network(), foreground
    )
    assert {getattr(views, field).dtype for field in TENSORS} == {torch.float32}


def test_gradients_reach_every_branch_through_both_views():
    image, foreground, _ = tiny_slices()
    for name in ("plain_cams", "warped_cams", "plain_logits", "warped_logits"):
        network = tiny_network()
        (getattr(make()(image, network, foreground), name) ** 2).sum().backward()
        assert all(branch.evidence.weight.grad.any() for branch in network.branches), name


@pytest.mark.parametrize("foreground_only", [True, False])
def test_evidence_that_left_the_field_of_view_matters_to_nothing(foreground_only):
    """A network that shouts where the shifted slice shows nothing: logits and maps must not hear it."""
    shift = Warp(np.zeros(2, int), np.zeros(2, bool), np.tile([[[1.0, 0, -0.5], [0, 1.0, 0]]], (2, 1, 1)))

    class Policy(WarpPolicy):
        def draw(self, batch: int) -> Warp:
            return shift

    class Shouting(torch.nn.Module):
        def __init__(self, loudness: float) -> None:
            super().__init__()
            self.loudness, self.calls = loudness, 0

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            outside = 1 - shift.field_of_view(image)
            return image if self.calls == 1 else image + self.loudness * outside

    reader = CamReader(Readout(1), AveragePooling(foreground_only), foreground_only)
    image, foreground = torch.rand(2, 1, 16, 16), torch.ones(2, 1, 16, 16)
    quiet, loud = (TwoViewInferer(Policy(), reader)(image, Shouting(v), foreground) for v in (0.0, 9.0))
    for name in ("plain_logits", "warped_logits", "plain_cams", "warped_cams"):
        assert torch.equal(getattr(quiet, name), getattr(loud, name)), name


def test_without_a_policy_the_network_runs_once_and_both_views_are_that_one():
    image, foreground, _ = tiny_slices()
    network, calls = tiny_network(), []
    network.register_forward_hook(lambda *_: calls.append(1))
    views = TwoViewInferer(None, tiny_reader())(image, network, foreground)
    assert len(calls) == 1
    assert views.plain_logits is views.warped_logits
    assert views.plain_cams is views.warped_cams
    assert views.field_of_view.min() == 1
    assert TwoViewInferer(None, tiny_reader()).state_dict() == {}


def test_the_evidence_of_both_views_comes_along_and_the_warp_joins_them():
    image, foreground, _ = tiny_slices(dtype=torch.float64)
    views = make(kinds=["flip"])(image, pointwise().double(), foreground)
    moved = views.evidence.warp.apply(views.evidence.plain)
    torch.testing.assert_close(moved, views.evidence.warped)  # a pointwise network is equivariant


def test_both_views_share_the_augmentation():
    """It is drawn once, before the views part: the mirrored view is the mirror of the changed slice."""
    image, foreground, _ = tiny_slices()
    seen = []

    def twice_as_bright(image: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
        seen.append(foreground)
        return 2 * image

    def network(image: torch.Tensor) -> torch.Tensor:
        seen.append(image)
        return image

    inferer = TwoViewInferer(WarpPolicy(kinds=["flip"]), tiny_reader(), augmentation=twice_as_bright)
    warp = WarpPolicy(kinds=["flip"]).set_random_state(0).draw(4)
    inferer(image, network, foreground)
    given, plain, warped = seen
    assert torch.equal(given, foreground)
    assert torch.equal(plain, 2 * image)
    assert torch.equal(warped, warp.apply(2 * image))
    seen.clear()
    TwoViewInferer(None, tiny_reader(), augmentation=twice_as_bright)(image, network, foreground)
    assert torch.equal(seen[1], 2 * image)


def test_what_an_augmentation_draws_goes_on_after_a_resume():
    image, foreground, _ = tiny_slices()
    network, augmentation = tiny_network().eval(), IntensityJitter()

    def inferer(seed: int) -> TwoViewInferer:
        return TwoViewInferer(WarpPolicy(compose=True), tiny_reader(), seed=seed, augmentation=augmentation)

    first, second = inferer(1), inferer(2)
    first(image, network, foreground)
    state = RandomState(first).state_dict()
    expected = [first(image, network, foreground) for _ in range(3)]
    assert not equal(expected[0], expected[1])
    RandomState(second).load_state_dict(state)
    assert all(equal(second(image, network, foreground), views) for views in expected)


@pytest.mark.parametrize("policy", [None, WarpPolicy()], ids=["one view", "two views"])
def test_the_branches_trust_comes_along(policy):
    image, foreground, _ = tiny_slices()
    network = tiny_network()
    network.trust.copy_(torch.tensor([0.25, 0.75]))
    assert TwoViewInferer(policy, tiny_reader())(image, network, foreground).trust.tolist() == [0.25, 0.75]
