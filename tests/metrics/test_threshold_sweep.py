"""The sweep is what thresholding again and again would give."""

import numpy as np
import pytest

from bundle.metrics import (
    THRESHOLDS,
    count_over_thresholds,
    count_overlap,
    dice_over_thresholds,
    dice_score,
)


def test_default_thresholds_go_from_5_to_95_hundredths():
    assert list(THRESHOLDS) == pytest.approx(np.linspace(0.05, 0.95, 19).tolist())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_threshold_counts_as_a_direct_comparison_does(dtype):
    rng = np.random.default_rng(0)
    cam = rng.random((12, 11, 10)).astype(dtype)
    # Values that lie on a threshold, where a rounding of its own would show.
    cam[0] = rng.choice(np.array([0.0, *THRESHOLDS, 1.0], dtype=dtype), size=(11, 10))
    truth = rng.random((12, 11, 10)) > 0.7
    expected = [count_overlap(cam > threshold, truth) for threshold in THRESHOLDS]
    assert count_over_thresholds(cam, truth) == expected
    assert dice_over_thresholds(cam, truth) == pytest.approx([dice_score(counts) for counts in expected])


def test_a_voxel_on_the_threshold_is_background():
    cam, truth = np.array([0.5], dtype=np.float32), np.array([True])
    assert dice_over_thresholds(cam, truth, [0.4, 0.5]).tolist() == [1.0, 0.0]


def test_a_map_of_zeros_finds_nothing():
    assert dice_over_thresholds(np.zeros(4), np.array([True, False, False, False])).max() == 0.0


@pytest.mark.parametrize("thresholds", [[0.5, 0.4], [0.5, 0.5], []])
def test_thresholds_that_do_not_rise_are_an_error(thresholds):
    with pytest.raises(ValueError, match="thresholds must rise"):
        dice_over_thresholds(np.zeros(4), np.zeros(4, dtype=bool), thresholds)


def test_map_and_truth_of_two_shapes_are_an_error():
    with pytest.raises(ValueError, match="one shape"):
        dice_over_thresholds(np.zeros(4), np.zeros(5, dtype=bool))
