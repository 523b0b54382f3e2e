"""Eq. 5: both views of every branch must tell the tag."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from bundle.losses import ClassificationLoss
from tests import equations
from tests.tiny import gradients, tiny_views


def test_value_by_hand():
    views, _ = tiny_views(branches=2, batch=2)
    ln3 = math.log(3)
    views = replace(
        views, plain_logits=torch.tensor([[0.0, ln3], [ln3, 0.0]]), warped_logits=torch.zeros(2, 2)
    )
    # sigmoid(0) = 1/2 costs ln 2; sigmoid(ln 3) = 3/4 costs ln(4/3) if the tag is 1 and ln 4 if it is 0.
    # plain: branch 1 (ln 2 + ln 4) / 2, branch 2 (ln(4/3) + ln 2) / 2; warped: ln 2 each; then the mean.
    ln2 = math.log(2)
    plain = (ln2 + 2 * ln2) / 2 + (2 * ln2 - ln3 + ln2) / 2
    value = ClassificationLoss()(views, torch.tensor([1.0, 0.0]))
    assert value.item() == pytest.approx((plain + 2 * ln2) / 2, rel=1e-6)


@pytest.mark.parametrize("branches", [1, 2, 3, 4])
def test_it_is_the_sum_of_the_branches_softmax_cross_entropies(branches):
    views, tags = tiny_views(branches)
    value = ClassificationLoss()(views, tags)
    plain = sum(equations.classification(k, views, tags) for k in range(branches))
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(gradients(value, views), gradients(plain, views))


def test_every_branch_learns_through_both_views_and_maps_do_not():
    views, tags = tiny_views()
    plain, warped, *maps = gradients(ClassificationLoss()(views, tags), views)
    assert (plain != 0).all()
    assert (warped != 0).all()
    assert not any(gradient.any() for gradient in maps)
