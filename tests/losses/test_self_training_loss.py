"""A segmenter learns from pseudo masks where they are known, in both views, as robustly as asked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bundle.equivariance import Evidence, Views, Warp
from bundle.losses import ClassificationLoss, JointLoss, SelfTrainingLoss
from bundle.networks import UNSEEN, Readout

LABEL = torch.tensor([[[[1.0, 0.0], [0.0, -1.0]]]], dtype=torch.float64)
FLIP = Warp(np.zeros(1, dtype=int), np.ones(1, dtype=bool))


def views(plain: torch.Tensor, warped: torch.Tensor | None = None, warp: Warp | None = None) -> Views:
    """Views of given evidence (B, N, H, W); one and the same without a warped one."""
    warped = plain if warped is None else warped
    logits, cams, whole = (
        torch.zeros(plain.shape[:2]),
        torch.zeros(plain.shape),
        torch.ones_like(plain[:, :1]),
    )
    warp = warp or Warp.identity(len(plain))
    return Views(logits, logits, cams, cams, whole, Evidence(plain, warped, warp))


def entropy(*logits_and_labels: tuple[float, float]) -> float:
    """Mean cross-entropy of pixels."""
    values = [math.log1p(math.exp(-z if y else z)) for z, y in logits_and_labels]
    return sum(values) / len(values)


def test_value_by_hand():
    # Logits 0: every probability is 1/2, and three pixels are known, one of them tumour. Cross-entropy ln 2;
    # Dice loss 1 - (2 * 1/2 + 1) / (3 * 1/2 + 1 + 1) = 1 - 2 / 3.5 = 3/7.
    value = SelfTrainingLoss(Readout())(views(torch.zeros(1, 1, 2, 2, dtype=torch.float64)), LABEL)
    assert value.item() == pytest.approx(math.log(2) + 3 / 7)


def test_value_by_hand_of_unequal_pixels():
    evidence = torch.tensor([[[[math.log(3), 0.0], [-math.log(3), 9.0]]]], dtype=torch.float64)
    # probabilities 3/4, 1/2, 1/4; Dice loss 1 - (2 * 3/4 + 1) / (3/2 + 1 + 1) = 2/7
    expected = entropy((math.log(3), 1), (0, 0), (-math.log(3), 0)) + 2 / 7
    assert SelfTrainingLoss(Readout())(views(evidence), LABEL).item() == pytest.approx(expected)


def test_ignored_pixels_cost_nothing_and_get_no_gradient():
    evidence = torch.randn(1, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    other = torch.where(LABEL < 0, 50.0, evidence)
    loss = SelfTrainingLoss(Readout())
    value = loss(views(evidence), LABEL)
    assert loss(views(other), LABEL).item() == value.item()
    (gradient,) = torch.autograd.grad(value, evidence)
    assert gradient[0, 0, 1, 1] == 0
    assert gradient.count_nonzero() == 3


def test_where_nothing_is_known_nothing_is_learnt():
    evidence = torch.randn(2, 1, 4, 4, requires_grad=True)
    value = SelfTrainingLoss(Readout())(views(evidence), -torch.ones(2, 1, 4, 4))
    assert value.item() == 0
    assert not torch.autograd.grad(value, evidence)[0].any()


def test_where_a_branch_did_not_look_it_is_not_judged():
    evidence, label = torch.randn(4, 2, 4, 4), torch.randint(-1, 2, (4, 1, 4, 4)).float()
    evidence[1:3, 1] = UNSEEN
    evidence.requires_grad_()
    loss = SelfTrainingLoss(Readout())
    value = loss(views(evidence), label)
    looked = [evidence[:, :1], evidence[[0, 3], 1:]], [label, label[[0, 3]]]
    torch.testing.assert_close(value, sum(loss(views(one), own) for one, own in zip(*looked, strict=True)))
    (gradient,) = torch.autograd.grad(value, evidence)
    assert gradient.isfinite().all()
    assert gradient[:, 0].any()
    assert not gradient[1:3, 1].any()


def test_a_training_that_diverged_does_not_look_like_a_perfect_one():
    evidence = torch.zeros(1, 2, 2, 2)
    evidence[0, 1, 0, 0] = torch.nan
    assert SelfTrainingLoss(Readout())(views(evidence), LABEL.float()).isnan()


def test_labels_follow_the_warp():
    """A mirrored slice whose evidence is mirrored costs what the plain one does."""
    plain = torch.randn(1, 1, 2, 2, dtype=torch.float64)
    loss = SelfTrainingLoss(Readout())
    once = loss(views(plain), LABEL)
    assert loss(views(plain, plain.flip(-1), FLIP), LABEL).item() == pytest.approx(once.item())
    assert loss(views(plain, plain.clone(), FLIP), LABEL).item() != pytest.approx(once.item())


def test_labels_follow_the_warp_of_the_one_view_that_was_seen():
    plain = torch.randn(1, 1, 2, 2, dtype=torch.float64)
    mirrored = plain.flip(-1)
    loss = SelfTrainingLoss(Readout())
    alone = loss(views(mirrored, mirrored, FLIP), LABEL)
    assert alone.item() == pytest.approx(loss(views(plain), LABEL).item())
    assert alone.item() != pytest.approx(loss(views(mirrored), LABEL).item())


def test_the_two_views_count_alike():
    plain, warped = torch.randn(2, 1, 1, 2, 2, dtype=torch.float64)
    loss = SelfTrainingLoss(Readout())
    mean = (loss(views(plain), LABEL) + loss(views(warped), LABEL)) / 2
    assert loss(views(plain, warped), LABEL).item() == pytest.approx(mean.item())


def test_pixels_that_come_from_outside_or_from_ignored_ones_do_not_count():
    # Shifted by half a pixel to the right: the first column is half from outside, the last one half from the
    # ignored column.
    shift = Warp(np.zeros(1, int), np.zeros(1, bool), np.array([[[1.0, 0, -0.25], [0, 1.0, 0]]]))
    label = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    label[..., 3] = -1
    plain = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    warped = torch.zeros_like(plain).requires_grad_()
    seen = views(plain, warped, shift)
    seen.field_of_view[:] = shift.field_of_view(plain)
    (gradient,) = torch.autograd.grad(SelfTrainingLoss(Readout())(seen, label), warped)
    assert gradient[0, 0].any(dim=0).tolist() == [False, True, True, False]


def test_branches_add_up():
    evidence, label = torch.randn(2, 3, 4, 4), torch.randint(-1, 2, (2, 1, 4, 4)).float()
    loss = SelfTrainingLoss(Readout())
    alone = sum(loss(views(branch), label) for branch in evidence.split(1, dim=1))
    torch.testing.assert_close(loss(views(evidence), label), alone)


def test_a_softmax_head_is_judged_by_the_difference_of_its_channels():
    two = torch.randn(1, 2, 2, 2, dtype=torch.float64)
    one = two[:, 1:] - two[:, :1]
    pair = SelfTrainingLoss(Readout(2))(views(two), LABEL), SelfTrainingLoss(Readout())(views(one), LABEL)
    torch.testing.assert_close(*pair)


def without_dice(robustness: float, evidence: torch.Tensor) -> torch.Tensor:
    """The term less its Dice part, which robustness leaves as it is: that of the absolute error, by hand."""
    loss = SelfTrainingLoss(Readout(), robustness)
    return loss(views(evidence), LABEL) - dice(evidence)


def dice(evidence: torch.Tensor) -> torch.Tensor:
    p = evidence[LABEL >= 0].sigmoid()
    return 1 - (2 * evidence.sigmoid()[LABEL > 0].sum() + 1) / (p.sum() + 1 + 1)


def test_q_of_0_is_cross_entropy_and_small_q_is_near_it():
    evidence = 3 * torch.randn(1, 1, 2, 2, dtype=torch.float64)
    known = LABEL >= 0
    expected = torch.nn.functional.binary_cross_entropy_with_logits(evidence[known], LABEL[known])
    torch.testing.assert_close(without_dice(0.0, evidence), expected)
    torch.testing.assert_close(without_dice(1e-9, evidence), expected, rtol=1e-6, atol=1e-6)


def test_q_of_1_is_the_absolute_error():
    evidence = 3 * torch.randn(1, 1, 2, 2, dtype=torch.float64)
    known = LABEL >= 0
    expected = (evidence[known].sigmoid() - LABEL[known]).abs().mean()
    torch.testing.assert_close(without_dice(1.0, evidence), expected)


def test_a_wrong_label_pulls_less_the_more_robust_the_loss_is():
    # a pixel that is surely healthy (logit -6) but labelled tumour: slope -p^q (1 - p)
    slopes = []
    for robustness in (0.0, 0.5, 1.0):
        evidence = torch.tensor([[[[-6.0]]]], dtype=torch.float64, requires_grad=True)
        term = SelfTrainingLoss(Readout(), robustness)._cross_entropy(evidence, torch.ones_like(evidence))
        slopes.append(torch.autograd.grad(term.sum(), evidence)[0].item())
        p = 1 / (1 + math.exp(6))
        assert slopes[-1] == pytest.approx(-(p**robustness) * (1 - p))
    assert slopes == sorted(slopes)


def test_a_perfect_map_costs_next_to_nothing():
    label = torch.zeros(1, 1, 4, 4)
    label[..., 1:3, 1:3] = 1
    assert SelfTrainingLoss(Readout())(views(40 * (label - 0.5)), label) < 1e-4


def test_tags_are_refused_with_the_remedy():
    with pytest.raises(
        ValueError, match=r"expected labels \(2, 1, 2, 2\), as the evidence, got \(2,\).*train_selftrain.yaml"
    ):
        SelfTrainingLoss(Readout())(views(torch.zeros(2, 1, 2, 2)), torch.ones(2))


@pytest.mark.parametrize("shape", [(2, 4, 4), (2, 1, 4, 4), (2, 1, 4, 4, 3), (1, 1, 4, 4, 2)])
def test_labels_of_another_shape_than_the_patches_are_refused_with_the_remedy(shape):
    evidence = views(torch.zeros(2, 1, 4, 4, 2))
    with pytest.raises(ValueError, match=r"expected labels \(2, 1, 4, 4, 2\), .*network_selftrain3d.yaml"):
        SelfTrainingLoss(Readout())(evidence, torch.ones(shape))


@pytest.mark.parametrize("robustness", [0.0, 0.7])
@pytest.mark.parametrize("branches", [1, 2])
def test_patches_cost_what_their_slices_do(branches, robustness):
    evidence, label = torch.randn(2, branches, 4, 4, 3), torch.randint(-1, 2, (2, 1, 4, 4, 3)).float()
    loss = SelfTrainingLoss(Readout(), robustness)
    slices = [volume.movedim(-1, 1).flatten(0, 1) for volume in (evidence, label)]
    torch.testing.assert_close(loss(views(evidence), label), loss(views(slices[0]), slices[1]))


def test_a_term_that_learns_from_tags_sees_no_pseudo_mask():
    terms = {
        "classification": {"loss": ClassificationLoss(), "weight": 1.0},
        "self_training": {"loss": SelfTrainingLoss(Readout()), "weight": 1.0},
    }
    with pytest.raises(ValueError, match="loss_terms classification learn from tags"):
        JointLoss(terms)(views(torch.zeros(1, 1, 2, 2)), LABEL)


@pytest.mark.parametrize("robustness", [-0.1, 1.1])
def test_robustness_lies_between_0_and_1(robustness):
    with pytest.raises(ValueError, match=r"robustness: expected a number in \[0, 1\]"):
        SelfTrainingLoss(Readout(), robustness)
