"""Eq. 4: across modalities, maps point at one place; teachers are trusted with reason, and stay."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from bundle.equivariance import Views
from bundle.losses import CrossModalityEquivarianceLoss
from tests import equations
from tests.tiny import gradients, tiny_views

POSITIVE = torch.ones(1)


def of_maps(*maps: list[list[float]], logits: tuple[float, ...] | None = None) -> Views:
    """One slice of 2 x 2 pixels whose branches give the same map and logit in both views."""
    cams = torch.tensor(maps, dtype=torch.float64)[None]
    values = torch.tensor([logits or (1.0,) * len(maps)], dtype=torch.float64)
    tensors = [tensor.clone().requires_grad_() for tensor in (values, values, cams, cams)]
    return Views(*tensors, torch.ones(1, 1, 2, 2, dtype=torch.float64))


LEFT, RIGHT, TOP = [[1.0, 0.0], [0.5, 0.0]], [[0.0, 0.2], [0.0, 0.9]], [[1.0, 1.0], [0.0, 0.0]]


def test_orthogonal_maps_cost_2_a_student():
    # |a - b|^2 = 1 + 1 - 2 * 0 for unit maps, half of it from either view
    assert CrossModalityEquivarianceLoss()(of_maps(LEFT, RIGHT), POSITIVE).item() == pytest.approx(2 * 2)


def test_value_by_hand_at_45_degrees():
    # (1, 0, 0, 0) and (1, 1, 0, 0) / sqrt(2): 2 - 2 / sqrt(2) a student
    value = CrossModalityEquivarianceLoss()(of_maps([[0.3, 0.0], [0.0, 0.0]], TOP), POSITIVE)
    assert value.item() == pytest.approx(2 * (2 - math.sqrt(2)))


def test_with_three_branches_each_student_pays_the_mean_over_its_teachers():
    # LEFT and RIGHT are orthogonal, the third is the first again: (2 + 0) / 2, (2 + 2) / 2, (0 + 2) / 2
    assert CrossModalityEquivarianceLoss()(of_maps(LEFT, RIGHT, LEFT), POSITIVE).item() == pytest.approx(4)


def test_identical_maps_cost_nothing_whatever_their_scale():
    double = [[2 * value for value in row] for row in LEFT]
    value = CrossModalityEquivarianceLoss()(of_maps(LEFT, double, LEFT), POSITIVE)
    assert value.item() == pytest.approx(0, abs=1e-12)


def test_sum_is_mean_times_the_number_of_pixels():
    views, tags = tiny_views(side=6, full_field_of_view=True)
    total, mean = (CrossModalityEquivarianceLoss(kind)(views, tags).item() for kind in ("sum", "mean"))
    assert total / mean == pytest.approx(36)


@pytest.mark.parametrize("branches", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_eq_4_pair_by_pair(branches, seed):
    views, tags = tiny_views(branches, batch=4, seed=seed)
    value = CrossModalityEquivarianceLoss()(views, tags)
    plain = sum(equations.cmer(k, views, tags) for k in range(branches)) + 0 * views.plain_cams.sum()
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(gradients(value, views), gradients(plain, views))


def test_only_the_student_learns():
    # branch 2 says healthy, so it teaches nobody and is the only student
    views = of_maps(LEFT, TOP, logits=(1.0, -1.0))
    plain_logits, warped_logits, plain, warped = gradients(
        CrossModalityEquivarianceLoss()(views, POSITIVE), views
    )
    assert not plain[:, 0].any()
    assert not warped[:, 0].any()
    assert plain[:, 1].any()
    assert warped[:, 1].any()
    assert not plain_logits.any()
    assert not warped_logits.any()


def test_a_teacher_who_says_healthy_is_not_followed_unless_asked():
    views = of_maps(LEFT, RIGHT, logits=(-1.0, -1.0))
    assert CrossModalityEquivarianceLoss()(views, POSITIVE).item() == 0
    assert CrossModalityEquivarianceLoss(trust_teacher=False)(views, POSITIVE).item() == pytest.approx(4)


def test_trust_is_told_by_the_teachers_own_view():
    views = of_maps(LEFT, RIGHT)
    views = replace(views, warped_logits=-views.warped_logits)  # half the terms fall away
    assert CrossModalityEquivarianceLoss()(views, POSITIVE).item() == pytest.approx(2)


def test_healthy_slices_do_not_count_unless_asked():
    views = of_maps(LEFT, RIGHT)
    assert CrossModalityEquivarianceLoss()(views, torch.zeros(1)).item() == 0
    loss = CrossModalityEquivarianceLoss(positive_only=False)
    assert loss(views, torch.zeros(1)).item() == pytest.approx(4)


def test_one_branch_has_no_teacher_and_costs_nothing():
    views, tags = tiny_views(branches=1)
    value = CrossModalityEquivarianceLoss()(views, tags)
    assert value.item() == 0
    assert not any(gradient.any() for gradient in gradients(value, views))


def test_an_empty_map_gets_no_gradient_and_spoils_none():
    views = of_maps([[0.0, 0.0], [0.0, 0.0]], LEFT)
    value = CrossModalityEquivarianceLoss()(views, POSITIVE)
    assert value.item() == pytest.approx(2)  # |0 - b|^2 = 1 for either student
    _, _, plain, warped = gradients(value, views)
    assert plain.isfinite().all()
    assert not plain[:, 0].any()
    assert not warped[:, 0].any()


def test_faint_maps_are_compared_as_well_as_strong_ones():
    faint = [[1e-12 * value for value in row] for row in RIGHT]
    assert CrossModalityEquivarianceLoss()(of_maps(LEFT, faint), POSITIVE).item() == pytest.approx(4)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="EquivarianceLoss reduction: expected one of mean, sum"):
        CrossModalityEquivarianceLoss("norm")


def trusting(views: Views, *trust: float) -> Views:
    return replace(views, trust=torch.tensor(trust))


def test_a_teacher_counts_by_its_trust():
    # LEFT and RIGHT are orthogonal, 2 apart; the third is the first again; trusted 1, 3 and 0.
    # The first learns from the second: 2; the second from the first: 2; the third from both: (1 * 0 + 3 * 2) / 4.
    views = trusting(of_maps(LEFT, RIGHT, LEFT), 1.0, 3.0, 0.0)
    value = CrossModalityEquivarianceLoss(by_skill=True)(views, POSITIVE)
    assert value.item() == pytest.approx(2 + 2 + 1.5)


def test_a_student_that_knows_more_learns_less():
    # Of two branches, trusted 3 and 1 (mean 2), the first learns by 1/2 of its distance, the second by 3/2. A mean over
    # the one teacher alone is 1 of either, whatever its trust.
    views = trusting(of_maps(LEFT, TOP), 3.0, 1.0)
    alike = CrossModalityEquivarianceLoss(by_skill=True)(views, POSITIVE)
    counted = CrossModalityEquivarianceLoss(by_skill=True, own_trust=True)(views, POSITIVE)
    for before, after in zip(gradients(alike, views)[2:], gradients(counted, views)[2:], strict=True):
        torch.testing.assert_close(after, before * torch.tensor([0.5, 1.5]).reshape(1, 2, 1, 1))
    assert gradients(alike, views)[2][:, 0].any()


def test_a_teacher_without_trust_teaches_nobody():
    views = trusting(of_maps(LEFT, TOP), 1.0, 0.0)
    value = CrossModalityEquivarianceLoss(by_skill=True)(views, POSITIVE)
    _, _, plain, warped = gradients(value, views)
    assert not plain[:, 0].any()
    assert not warped[:, 0].any()
    assert plain[:, 1].any()
    nobody = CrossModalityEquivarianceLoss(by_skill=True)(trusting(views, 0.0, 0.0), POSITIVE)
    assert nobody.item() == 0


def test_equal_trust_is_the_papers_mean_and_unless_asked_trust_does_not_count():
    views, tags = tiny_views(3)
    paper, by_skill = CrossModalityEquivarianceLoss(), CrossModalityEquivarianceLoss(by_skill=True)
    torch.testing.assert_close(by_skill(trusting(views, 0.4, 0.4, 0.4), tags), paper(views, tags))
    own = CrossModalityEquivarianceLoss(by_skill=True, own_trust=True)
    torch.testing.assert_close(own(trusting(views, 0.4, 0.4, 0.4), tags), paper(views, tags))
    assert torch.equal(by_skill(views, tags), paper(views, tags))  # nobody knows of any trust
    assert torch.equal(paper(trusting(views, 1.0, 0.0, 0.2), tags), paper(views, tags))
