"""Adaptive min pooling: the lowest quarter of a refined map is pushed to 0."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bundle.losses import AdaptiveMinPoolingLoss
from bundle.networks import PixelCorrelationReadout, Readout
from tests.tiny import refined_views, tiny_views

READOUT = PixelCorrelationReadout(Readout(1))


def loss(**options) -> AdaptiveMinPoolingLoss:
    return AdaptiveMinPoolingLoss(READOUT, **options)


def two_views(plain: torch.Tensor, warped: torch.Tensor):
    nothing = torch.zeros_like(plain)
    return refined_views((nothing, nothing), (plain, warped))


def test_value_by_hand():
    # lowest quarter of 16 pixels: .1 .3 .2 .2, mean .2, in the plain view; .5 in the warped one; mean of both .35
    plain, warped = torch.full((1, 1, 4, 4), 0.9), torch.full((1, 1, 4, 4), 0.5)
    plain[0, 0, 1:3, 1:3] = torch.tensor([[0.1, 0.3], [0.2, 0.2]])
    assert loss()(two_views(plain, warped), torch.ones(1)).item() == pytest.approx(0.35)


def test_a_map_that_leaves_a_quarter_empty_costs_nothing():
    maps = torch.ones(1, 1, 4, 4)
    maps[..., 0, :] = 0
    assert loss()(two_views(maps, maps), torch.ones(1)).item() == 0


def test_healthy_slices_cost_nothing_but_count_in_the_mean():
    maps = torch.full((4, 1, 4, 4), 0.6)
    assert loss()(two_views(maps, maps), torch.zeros(4)).item() == 0
    tags = torch.tensor([1.0, 0.0, 0.0, 0.0])
    assert loss()(two_views(maps, maps), tags).item() == pytest.approx(0.15)


def test_the_quarter_is_of_the_pixels_in_view():
    maps = torch.zeros(1, 1, 4, 4)
    maps[..., :2, :2] = torch.tensor([[0.2, 0.8], [0.8, 0.8]])
    views = two_views(maps, maps)
    views.field_of_view[..., 2:, :] = views.field_of_view[..., 2:] = 0
    assert loss()(views, torch.ones(1)).item() == pytest.approx(0.2)  # one pixel of the four


def test_only_the_lowest_pixels_of_positive_slices_learn():
    views, tags = tiny_views(batch=3, full_field_of_view=True)
    value = loss()(views, tags)
    for gradient in torch.autograd.grad(value, [views.evidence.plain, views.evidence.warped]):
        assert not gradient[:, 0::2].any()  # the evidence's own channel
        assert not gradient[1].any()  # healthy
        taught = (gradient[0, 1::2] > 0).flatten(1).sum(1)
        assert taught.tolist() == [9, 9]  # a quarter of 6 x 6, for each branch


def test_views_without_evidence_are_refused():
    views, tags = tiny_views()
    with pytest.raises(ValueError, match="expected the evidence that the refined maps stand in, got None"):
        loss()(replace(views, evidence=None), tags)


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match="AdaptiveMinPoolingLoss share: expected a share of the pixels"):
        loss(share=0)
