"""Dice, the ratios and the counts they are made of, on masks one can count by eye."""

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice

from bundle.metrics import OverlapCounts, count_overlap, dice_score, over_ratio, under_ratio

# Truth: four voxels in a row; prediction: the last three of them and two more.  TP 3, FN 1, FP 2
TRUTH = np.array([1, 1, 1, 1, 0, 0, 0], dtype=bool).reshape(7, 1, 1)
PREDICTION = np.array([0, 1, 1, 1, 1, 1, 0], dtype=bool).reshape(7, 1, 1)
EMPTY = np.zeros((7, 1, 1), dtype=bool)


def test_counts_are_those_one_can_count():
    assert count_overlap(PREDICTION, TRUTH) == OverlapCounts(3, 2, 1)


def test_dice_by_hand():
    assert dice_score(count_overlap(PREDICTION, TRUTH)) == pytest.approx(2 * 3 / (5 + 4))


def test_ratios_by_hand():
    counts = count_overlap(PREDICTION, TRUTH)
    assert under_ratio(counts) == pytest.approx(1 / 3)
    assert over_ratio(counts) == pytest.approx(2 / 3)


def test_identical_masks_are_perfect():
    counts = count_overlap(TRUTH, TRUTH)
    assert (dice_score(counts), under_ratio(counts), over_ratio(counts)) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("prediction", "truth", "dice"),
    [(EMPTY, EMPTY, 1.0), (EMPTY, TRUTH, 0.0), (PREDICTION, EMPTY, 0.0), (PREDICTION, TRUTH, 6 / 9)],
)
def test_dice_of_empty_masks_follows_the_policy(prediction, truth, dice):
    assert dice_score(count_overlap(prediction, truth)) == pytest.approx(dice)


@pytest.mark.parametrize(("prediction", "truth"), [(EMPTY, EMPTY), (EMPTY, TRUTH), (PREDICTION, EMPTY)])
def test_ratios_are_undefined_where_nothing_is_hit(prediction, truth):
    counts = count_overlap(prediction, truth)
    assert math.isnan(under_ratio(counts))
    assert math.isnan(over_ratio(counts))


def test_dice_is_monais_dice():
    rng = np.random.default_rng(0)
    prediction, truth = rng.random((2, 9, 8, 7)) > 0.6
    batch = [torch.from_numpy(mask)[None, None] for mask in (prediction, truth)]
    assert dice_score(count_overlap(prediction, truth)) == pytest.approx(compute_dice(*batch).item())


def test_masks_of_two_shapes_are_an_error():
    with pytest.raises(ValueError, match="one shape"):
        count_overlap(TRUTH, TRUTH[:3])
