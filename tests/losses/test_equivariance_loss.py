"""Eq. 2: within a modality, the map of the warped slice is the warped map of the slice."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bundle.equivariance import Views
from bundle.losses import EquivarianceLoss
from tests import equations
from tests.tiny import gradients, tiny_views

POSITIVE = torch.ones(1)


def two_by_two(plain: list[list[float]], warped: list[list[float]]) -> Views:
    """One branch, one slice of 2 x 2 pixels."""
    maps = [torch.tensor(values)[None, None] for values in (plain, warped)]
    return Views(torch.zeros(1, 1), torch.zeros(1, 1), maps[0], maps[1], torch.ones(1, 1, 2, 2))


def test_value_by_hand():
    views = two_by_two([[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.5]])
    assert EquivarianceLoss("sum")(views, POSITIVE).item() == 1.25  # 1^2 + 0.5^2
    assert EquivarianceLoss("mean")(views, POSITIVE).item() == 0.3125  # a quarter of it


def test_seams_l1_by_hand():
    views = two_by_two([[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.5]])
    assert EquivarianceLoss("sum", norm="l1")(views, POSITIVE).item() == 1.5  # 1 + 0.5
    assert EquivarianceLoss("mean", norm="l1")(views, POSITIVE).item() == 0.375  # a quarter of it
    views.field_of_view[..., 1, :] = 0
    assert EquivarianceLoss("mean", norm="l1")(views, POSITIVE).item() == 0.5


def test_pixels_out_of_view_leave_both_sum_and_count():
    views = two_by_two([[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.5]])
    views.field_of_view[..., 1, :] = 0
    assert EquivarianceLoss("sum")(views, POSITIVE).item() == 1.0
    assert EquivarianceLoss("mean")(views, POSITIVE).item() == 0.5


def test_a_slice_wholly_out_of_view_costs_nothing():
    views, tags = tiny_views()
    views.field_of_view[:] = 0
    value = EquivarianceLoss()(views, tags)
    assert value.item() == 0
    assert not any(gradient.any() for gradient in gradients(value, views))


def test_healthy_slices_cost_nothing_but_count_in_the_mean():
    views, _ = tiny_views(batch=4)
    positive, healthy = EquivarianceLoss()(views, torch.ones(4)), EquivarianceLoss()(views, torch.zeros(4))
    assert healthy.item() == 0
    torch.testing.assert_close(EquivarianceLoss(positive_only=False)(views, torch.zeros(4)), positive)
    maps = ("plain_cams", "warped_cams", "field_of_view")
    repeated = replace(views, **{name: getattr(views, name)[:1].repeat(4, 1, 1, 1) for name in maps})
    half = EquivarianceLoss()(repeated, torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert half.item() == pytest.approx(EquivarianceLoss()(repeated, torch.ones(4)).item() / 2)


def test_sum_is_mean_times_the_number_of_pixels():
    views, tags = tiny_views(side=6, full_field_of_view=True)
    ratio = EquivarianceLoss("sum")(views, tags) / EquivarianceLoss("mean")(views, tags)
    assert ratio.item() == pytest.approx(36)


@pytest.mark.parametrize("branches", [1, 2, 3, 4])
def test_it_is_eq_2_summed_over_branches(branches):
    views, tags = tiny_views(branches)
    value, plain = EquivarianceLoss()(views, tags), sum(equations.er(k, views, tags) for k in range(branches))
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(gradients(value, views), gradients(plain, views))


def test_gradients_go_through_both_views():
    views, tags = tiny_views()
    *logits, plain, warped = gradients(EquivarianceLoss()(views, tags), views)
    assert plain.any()
    torch.testing.assert_close(plain, -warped)
    assert not any(gradient.any() for gradient in logits)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="EquivarianceLoss reduction: expected one of mean, sum"):
        EquivarianceLoss("max")


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="EquivarianceLoss norm: expected one of l2, l1, got 'l3'"):
        EquivarianceLoss(norm="l3")
