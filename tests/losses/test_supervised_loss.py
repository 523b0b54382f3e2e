"""The upper bound learns from masks, and no other term may be near them."""

from __future__ import annotations

import math

import pytest
import torch

from bundle.equivariance import Evidence, Views, Warp
from bundle.losses import ClassificationLoss, JointLoss, SupervisedLoss
from bundle.networks import Readout
from tests.tiny import tiny_views


def seen(evidence: torch.Tensor) -> Views:
    batch, channels, *size = evidence.shape
    logits, cams = torch.zeros(batch, channels), torch.zeros(evidence.shape)
    whole = torch.ones(batch, 1, *size)
    return Views(logits, logits, cams, cams, whole, Evidence(evidence, evidence, Warp.identity(batch)))


def test_value_by_hand():
    # Logits 0: every probability is 1/2. Half of 4 pixels are tumour, so cross-entropy is ln 2 and
    # Dice loss 1 - 2 * (2 * 0.5) / (4 * 0.5 + 2) = 1 - 2/4 = 0.5 (MONAI smooths both by 1e-5).
    mask = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    value = SupervisedLoss(Readout())(seen(torch.zeros(1, 1, 2, 2)), mask)
    assert value.item() == pytest.approx(math.log(2) + 0.5, abs=1e-4)


def test_branches_add_up():
    evidence, mask = torch.randn(2, 3, 4, 4), torch.ones(2, 1, 4, 4)
    loss = SupervisedLoss(Readout())
    alone = sum(loss(seen(branch), mask) for branch in evidence.split(1, dim=1))
    torch.testing.assert_close(loss(seen(evidence), mask), alone)


def test_a_softmax_head_is_judged_by_the_difference_of_its_channels():
    two, mask = torch.randn(1, 2, 4, 4), (torch.rand(1, 1, 4, 4) > 0.5).float()
    one = two[:, 1:] - two[:, :1]
    torch.testing.assert_close(
        SupervisedLoss(Readout(2))(seen(two), mask), SupervisedLoss(Readout())(seen(one), mask)
    )


def test_a_perfect_map_costs_next_to_nothing():
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 1:3, 1:3] = 1
    assert SupervisedLoss(Readout())(seen(40 * (mask - 0.5)), mask) < 1e-4


def test_tags_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"expected masks \(B, 1, H, W\), got \(2,\)"):
        SupervisedLoss(Readout())(seen(torch.zeros(2, 1, 2, 2)), torch.ones(2))


def test_a_term_that_learns_from_tags_never_sees_a_mask():
    views, _ = tiny_views(2)
    loss = JointLoss(
        {
            "classification": {"loss": ClassificationLoss(), "weight": 1.0},
            "supervised": {"loss": SupervisedLoss(Readout()), "weight": 1.0},
        }
    )
    with pytest.raises(ValueError, match="loss_terms classification learn from tags"):
        loss(views, torch.ones(3, 1, 6, 6))
