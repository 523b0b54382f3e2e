"""Eq. 3: branches exchange their predictions; teachers are not changed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from bundle.equivariance import Views
from bundle.losses import DistillationLoss
from tests import equations
from tests.tiny import gradients, tiny_views


def of_logits(*logits: float) -> Views:
    """One slice whose branches give the same logits in both views."""
    values = torch.tensor([logits], dtype=torch.float64)
    maps = torch.zeros(1, len(logits), 2, 2, dtype=torch.float64)
    tensors = [tensor.clone().requires_grad_() for tensor in (values, values, maps, maps)]
    return Views(*tensors, torch.ones(1, 1, 2, 2, dtype=torch.float64))


@pytest.mark.parametrize("temperature", [1.0, 10.0])
def test_value_by_hand(temperature):
    # p = 1/2 and q = 3/4, of logits 0 and ln 3 after division by T. Student p, teacher q:
    # 3/4 ln(3/2) + 1/4 ln(1/2) = 0.1308; student q, teacher p: 1/2 ln(2/3) + 1/2 ln(2) = 0.1438: ln(3) / 4.
    value = DistillationLoss(temperature)(of_logits(0.0, temperature * math.log(3)), torch.ones(1))
    assert value.item() == pytest.approx(temperature**2 * math.log(3) / 4)


@pytest.mark.parametrize("temperature", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("branches", [1, 2, 3, 4])
def test_it_is_kl_div_of_two_class_softmax(branches, temperature):
    views, tags = tiny_views(branches)
    value = DistillationLoss(temperature)(views, tags)
    plain = sum(equations.kd(k, views, tags, temperature) for k in range(branches))
    plain = plain + 0 * views.plain_logits.sum()  # a number and no tensor for one branch
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(gradients(value, views), gradients(plain, views))


def test_at_temperature_10_it_matches_logits():
    u, v = 0.7, -0.9
    value = DistillationLoss(10.0)(of_logits(u, v), torch.ones(1)).item()
    assert value == pytest.approx(2 * (u - v) ** 2 / 8, rel=0.01)


def test_a_student_is_drawn_to_its_teacher_who_stays():
    # d KL(q_d || p) / du = (p - q) / T: only the student's side. With T^2, half of it per view.
    views = of_logits(0.0, math.log(3))
    plain, warped, *_ = gradients(DistillationLoss(1.0)(views, torch.ones(1)), views)
    expected = torch.tensor([[0.5 * (0.5 - 0.75), 0.5 * (0.75 - 0.5)]], dtype=torch.float64)
    torch.testing.assert_close(plain, expected)
    torch.testing.assert_close(warped, expected)


def test_one_branch_has_no_teacher_and_costs_nothing():
    views = of_logits(2.0)
    value = DistillationLoss()(views, torch.ones(1))
    assert value.item() == 0
    assert not any(gradient.any() for gradient in gradients(value, views))


def test_extreme_logits_stay_finite():
    views = of_logits(500.0, -500.0)
    value = DistillationLoss(1.0)(views, torch.ones(1))
    assert value.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients(value, views))


def test_tags_do_not_matter():
    views, tags = tiny_views()
    assert torch.equal(DistillationLoss()(views, tags), DistillationLoss()(replace(views), 1 - tags))


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_is_positive(temperature):
    with pytest.raises(ValueError, match="temperature: expected a positive number"):
        DistillationLoss(temperature)


def trusting(views: Views, *trust: float) -> Views:
    return replace(views, trust=torch.tensor(trust))


def test_a_teacher_counts_by_its_trust():
    # Three branches at T = 1, of p = 1/2, 3/4 and 3/4, trusted 1, 3 and 0. The first learns from the second alone,
    # 0.1308 (see above); the second from the first alone, 0.1438; the third from both: (1 * 0.1438 + 3 * 0) / 4.
    views = trusting(of_logits(0.0, math.log(3), math.log(3)), 1.0, 3.0, 0.0)
    forth = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    back = 0.5 * math.log(2 / 3) + 0.5 * math.log(2)
    value = DistillationLoss(1.0, by_skill=True)(views, torch.ones(1))
    assert value.item() == pytest.approx(forth + back + back / 4)


def test_a_student_that_knows_more_learns_less():
    # trusted 3 and 1, mean 2: half of what the first had to learn, one and a half times what the second had
    views = trusting(of_logits(0.0, 2.0), 3.0, 1.0)
    alike = DistillationLoss(by_skill=True)(views, torch.ones(1))
    counted = DistillationLoss(by_skill=True, own_trust=True)(views, torch.ones(1))
    for before, after in zip(gradients(alike, views)[:2], gradients(counted, views)[:2], strict=True):
        torch.testing.assert_close(after, before * torch.tensor([[0.5, 1.5]]).to(before))


def test_a_teacher_without_trust_teaches_nobody():
    views = trusting(of_logits(0.0, 2.0), 1.0, 0.0)
    value = DistillationLoss(by_skill=True)(views, torch.ones(1))
    plain, warped, *_ = gradients(value, views)
    assert not plain[:, 0].any()
    assert not warped[:, 0].any()
    assert plain[:, 1].any()
    nobody = DistillationLoss(by_skill=True)(trusting(views, 0.0, 0.0), torch.ones(1))
    assert nobody.item() == 0


def test_equal_trust_is_the_papers_mean_and_unless_asked_trust_does_not_count():
    views, tags = tiny_views(3)
    paper = DistillationLoss()(views, tags)
    torch.testing.assert_close(DistillationLoss(by_skill=True)(trusting(views, 0.4, 0.4, 0.4), tags), paper)
    assert torch.equal(DistillationLoss(by_skill=True)(views, tags), paper)  # nobody knows of any trust
    assert torch.equal(DistillationLoss()(trusting(views, 1.0, 0.0, 0.2), tags), paper)
