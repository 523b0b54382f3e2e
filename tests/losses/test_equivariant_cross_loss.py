"""SEAM's ECR: each view's refined map is the other view's map, judged by its worst pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bundle.equivariance import Warp
from bundle.losses import EquivariantCrossLoss
from bundle.losses.refined_views import max_normalised
from bundle.networks import PixelCorrelationReadout, Readout
from tests.tiny import refined_views, tiny_views

READOUT = PixelCorrelationReadout(Readout(1))
POSITIVE = torch.ones(1)


def loss(**options) -> EquivariantCrossLoss:
    return EquivariantCrossLoss(READOUT, **options)


def square(*values: float, rest: float) -> torch.Tensor:
    """One branch, one slice of 4 x 4 pixels: the first values given, the others alike."""
    return torch.tensor([*values, *[rest] * (16 - len(values))]).reshape(1, 1, 4, 4)


def stretched(maps: torch.Tensor) -> torch.Tensor:
    """What normalised maps M would be, in view everywhere."""
    return max_normalised(maps, torch.ones_like(maps[:, :1]))


def test_identical_maps_cost_nothing():
    refined = torch.rand(3, 2, 6, 6)
    maps = stretched(refined)
    assert loss()(refined_views((maps, maps), (refined, refined)), torch.ones(3)).item() == 0


@pytest.mark.parametrize(("factor", "shift"), [(0.3, 0.0), (0.2, 0.4)])
def test_the_scale_of_a_refined_map_does_not_matter(factor, shift):
    refined = torch.rand(3, 2, 6, 6)
    maps, other = stretched(refined), factor * refined + shift
    value = loss()(refined_views((maps, maps), (other, other)), torch.ones(3))
    assert value.item() == pytest.approx(0, abs=1e-3)


def test_max_norm_by_hand():
    # In view .1 .2 .3 .5 and rest .3: 0, .25, .5, 1 and .5; the last pixel, .9, is out of view.
    refined, inside = square(0.1, 0.2, 0.3, 0.5, rest=0.3), torch.ones(1, 1, 4, 4)
    refined[..., -1, -1], inside[..., -1, -1] = 0.9, 0
    expected = square(0.0, 0.25, 0.5, 1.0, rest=0.5) * inside
    torch.testing.assert_close(max_normalised(refined, inside), expected, rtol=0, atol=1e-4)
    assert not max_normalised(square(rest=0.7), inside).any()


def test_gradients_go_through_maximum_and_minimum():
    refined = torch.rand(1, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    refined.requires_grad_()
    assert torch.autograd.gradcheck(lambda maps: stretched(maps).square(), [refined])
    (gradient,) = torch.autograd.grad(stretched(refined)[:, 0].sum(), refined)
    assert gradient[0, 0].flatten()[refined[0, 0].argmax()] < 0  # a higher maximum lowers all the others
    assert not gradient[0, 1].any()


def test_value_by_hand():
    # plain refined .1 .3 .5 and 13 times .3 becomes 0 .5 1 .5; off the warped map by .5 0 .2 0: the two largest of 16
    # have mean .35. Warped refined .2 .6 and 14 times .4 becomes 0 1 .5; off the plain map by .3 .5 0: mean .4
    plain, warped = square(0.3, rest=0.5), square(0.5, 0.5, 0.8, rest=0.5)
    views = refined_views((plain, warped), (square(0.1, 0.3, 0.5, rest=0.3), square(0.2, 0.6, rest=0.4)))
    assert loss(share=2 / 16)(views, POSITIVE).item() == pytest.approx(0.35 + 0.4, abs=1e-3)
    assert loss(share=1.0)(views, POSITIVE).item() == pytest.approx(0.7 / 16 + 0.8 / 16, abs=1e-3)


def test_a_background_channel_would_say_the_same_twice():
    # As published: maps M and 1 - M, refined R and 1 - R, each normalised, and the largest 20 % of all residuals.
    generator = torch.Generator().manual_seed(0)
    cams, refined = (torch.rand(1, 1, 10, 10, generator=generator) for _ in range(2))
    ours = loss()(refined_views((cams, cams), (refined, refined)), POSITIVE) / 2
    residuals = [cams - stretched(refined), (1 - cams) - stretched(1 - refined)]
    both = torch.cat(residuals, dim=1).abs()
    torch.testing.assert_close(ours, both.flatten().topk(40).values.mean(), rtol=0, atol=1e-4)


def test_each_slice_is_judged_by_its_own_worst_pixels():
    cams = torch.rand(4, 2, 6, 6)
    refined = torch.rand(4, 2, 6, 6)
    views = refined_views((cams, cams), (refined, refined))
    alone = [
        loss()(refined_views((c[None], c[None]), (r[None], r[None])), POSITIVE)
        for c, r in zip(cams, refined, strict=True)
    ]
    torch.testing.assert_close(loss()(views, torch.ones(4)), torch.stack(alone).mean())


def test_the_share_is_of_the_pixels_in_view():
    # Five pixels in view become 1, .75, .5, 0, 0; the worst fifth is one pixel of those five, off by .75, both ways.
    maps, refined = square(0.6, rest=0.0), square(0.4, 0.3, 0.2, 0.0, 0.0, rest=1.0)
    views = refined_views((maps, maps), (refined, refined))
    views.field_of_view.flatten()[5:] = 0
    assert loss()(views, POSITIVE).item() == pytest.approx(1.5, abs=1e-3)


def test_a_slice_wholly_out_of_view_costs_nothing():
    views, tags = tiny_views()
    views.field_of_view[:] = 0
    value = loss()(views, tags)
    assert value.item() == 0
    assert not any(gradient.any() for gradient in evidence_gradients(value, views))


def test_healthy_slices_cost_nothing_but_count_in_the_mean():
    views, _ = tiny_views(batch=4)
    assert loss()(views, torch.zeros(4)).item() == 0
    half = loss()(views, torch.tensor([1.0, 0.0, 0.0, 0.0])) + loss()(
        views, torch.tensor([0.0, 1.0, 1.0, 1.0])
    )
    torch.testing.assert_close(half, loss()(views, torch.ones(4)))
    torch.testing.assert_close(loss(positive_only=False)(views, torch.zeros(4)), loss()(views, torch.ones(4)))


def test_the_plain_views_refined_map_is_warped_before_it_is_compared():
    generator = torch.Generator().manual_seed(0)
    refined = torch.rand(2, 1, 6, 6, generator=generator)
    turned = torch.rot90(refined, 1, (-2, -1))
    cams = stretched(turned)
    views = refined_views((cams, cams), (refined, turned))  # cams of Views are warped already
    assert loss()(views, torch.ones(2)).item() > 0.1
    quarter = Warp(np.array([1, 1]), np.array([False, False]))
    views = replace(views, evidence=replace(views.evidence, warp=quarter))
    assert loss()(views, torch.ones(2)).item() == 0


def evidence_gradients(value: torch.Tensor, views) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(value, [views.evidence.plain, views.evidence.warped], retain_graph=True)


def test_only_refined_maps_learn():
    views, tags = tiny_views()
    value = loss()(views, tags)
    for gradient in evidence_gradients(value, views):
        assert gradient[:, 1::2].any()
        assert not gradient[:, 0::2].any()
    maps = [views.plain_cams, views.warped_cams]
    assert torch.autograd.grad(value, maps, allow_unused=True) == (None, None)


def test_views_without_evidence_are_refused():
    views, tags = tiny_views()
    with pytest.raises(ValueError, match="expected the evidence that the refined maps stand in, got None"):
        loss()(replace(views, evidence=None), tags)


@pytest.mark.parametrize("share", [0, 1.1])
def test_a_share_of_nothing_is_refused(share):
    with pytest.raises(
        ValueError, match=r"EquivariantCrossLoss share: expected a share of the pixels in \(0, 1\]"
    ):
        loss(share=share)
