"""Eq. 8: named, weighted terms, switched off by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bundle.losses import ClassificationLoss, EquivarianceLoss, JointLoss
from tests import equations
from tests.tiny import gradients, tiny_loss, tiny_views


class Untouchable(nn.Module):
    def forward(self, views, tags):
        raise AssertionError("a term that is switched off was computed")


def term(loss: nn.Module, weight: float = 1.0) -> dict:
    return {"loss": loss, "weight": weight}


@pytest.mark.parametrize("branches", [1, 2, 3, 4])
def test_it_is_the_weighted_sum_over_terms_and_students(branches):
    views, tags = tiny_views(branches)
    loss = tiny_loss()
    loss.set_weight("er", 0.25)
    loss.set_weight("cmer", 0.25)
    plain = sum(
        equations.classification(k, views, tags)
        + 0.5 * equations.kd(k, views, tags, 10.0)
        + 0.25 * (equations.er(k, views, tags) + equations.cmer(k, views, tags))
        for k in range(branches)
    )
    value = loss(views, tags)
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(gradients(value, views), gradients(plain, views))


def test_values_are_those_before_weighting_and_hold_no_graph():
    views, tags = tiny_views()
    loss = JointLoss({"classification": term(ClassificationLoss(), 3.0), "er": term(EquivarianceLoss(), 2.0)})
    total = loss(views, tags)
    assert set(loss.values) == {"classification", "er"}
    assert not any(value.requires_grad for value in loss.values.values())
    torch.testing.assert_close(total.detach(), 3 * loss.values["classification"] + 2 * loss.values["er"])


@pytest.mark.parametrize("off", [None, term(Untouchable(), 0.0)])
def test_a_term_switched_off_is_not_computed(off):
    loss = JointLoss({"classification": term(ClassificationLoss()), "er": off})
    views, tags = tiny_views()
    torch.testing.assert_close(loss(views, tags), ClassificationLoss()(views, tags))
    assert set(loss.values) == {"classification"}
    assert loss.known == ("classification", "er")


def test_a_term_whose_weight_is_set_to_0_costs_nothing_from_then_on():
    loss, (views, tags) = tiny_loss(), tiny_views()
    before = loss(views, tags)
    loss.set_weight("kd", 0)
    assert loss(views, tags) < before
    assert "kd" not in loss.values


def test_setting_the_weight_of_an_unknown_term_names_the_known_ones():
    with pytest.raises(ValueError, match="'ccmer' is unknown; `loss_terms` has classification, er, kd"):
        tiny_loss().set_weight("ccmer", 1.0)


def test_a_loss_without_terms_is_refused():
    with pytest.raises(ValueError, match="expected at least one term, got none; keep `classification`"):
        JointLoss({"er": None})


@pytest.mark.parametrize("entry", [{"loss": nn.Identity()}, {"weight": 1.0}, {**term(nn.Identity()), "w": 2}])
def test_an_entry_has_loss_and_weight(entry):
    with pytest.raises(ValueError, match="loss_terms::er: expected the keys loss and weight, got"):
        JointLoss({"er": entry})
