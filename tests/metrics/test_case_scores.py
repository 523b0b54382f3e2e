"""One case, scored map by map."""

import math

import numpy as np
import pytest

from bundle.metrics import CaseScores, score_case

NAMES = ("flair", "fused")
SPACING_MM = (1.0, 2.0, 5.0)  # a voxel holds 0.01 ml


def maps(*predictions: np.ndarray) -> np.ndarray:
    """Maps that are 0.8 inside a mask and 0.2 outside."""
    return np.stack([np.where(mask, 0.8, 0.2) for mask in predictions]).astype(np.float32)


def score(cams: np.ndarray, truth: np.ndarray | None, threshold: float = 0.5, **options) -> CaseScores:
    """Case 017, its masks where the maps exceed the threshold."""
    options = {"names": NAMES, "spacing_mm": SPACING_MM, **options}
    return score_case("017", cams, cams > threshold, truth, **options)


@pytest.fixture
def truth() -> np.ndarray:
    """Four voxels in slice 1, two in slice 2."""
    mask = np.zeros((6, 6, 4), dtype=np.uint8)
    mask[1:3, 1:3, 1] = 1
    mask[1:3, 1, 2] = 1
    return mask


def test_a_row_by_hand(truth):
    found = truth.astype(bool)
    found[1, 1, 1] = False  # one missed
    found[4, 4, 2] = True  # one too many in a slice with truth
    found[4, 4:6, 3] = True  # two in a slice without
    row = score(maps(found, truth), truth).rows[0]
    assert (row.case, row.map) == ("017", "flair")
    assert row.dice == pytest.approx(2 * 5 / (6 + 8))
    assert row.dice_positive_slices == pytest.approx(2 * 5 / (6 + 6))
    assert row.under_ratio == pytest.approx(1 / 5)
    assert row.over_ratio == pytest.approx(3 / 5)
    assert row.truth_ml == pytest.approx(0.06)
    assert row.prediction_ml == pytest.approx(0.08)
    assert (row.empty_truth, row.empty_prediction) == (False, False)


def test_the_fused_map_is_last_and_scored_like_the_others(truth):
    scores = score(maps(truth * 0, truth), truth)
    assert [row.map for row in scores.rows] == ["flair", "fused"]
    assert (scores.fused.dice, scores.fused.assd_mm) == (1.0, 0.0)
    assert scores.rows[0].dice == 0.0


def test_each_voxel_counts_whatever_the_mask_calls_it(truth):
    cams = maps(truth, truth)
    first = score(cams, truth)
    assert score(cams, truth * 4).rows == first.rows


@pytest.mark.parametrize("empty_truth", [False, True])
@pytest.mark.parametrize("empty_prediction", [False, True])
def test_all_combinations_of_empty_masks_are_flagged(truth, empty_truth, empty_prediction):
    prediction = truth * (not empty_prediction)
    mask = truth * (not empty_truth)
    row = score(maps(prediction, prediction), mask).fused
    assert (row.empty_truth, row.empty_prediction) == (empty_truth, empty_prediction)
    assert row.dice == float(empty_truth == empty_prediction)
    assert math.isnan(row.assd_mm) == (empty_truth or empty_prediction)
    assert math.isnan(row.under_ratio) == (empty_truth or empty_prediction)
    assert math.isnan(row.dice_positive_slices) == empty_truth


def test_without_a_mask_only_the_prediction_is_measured(truth):
    scores = score(maps(truth, truth), None)
    assert scores.fused.empty_truth is None
    assert scores.fused.prediction_ml == pytest.approx(0.06)
    assert math.isnan(scores.fused.dice)
    assert math.isnan(scores.fused.truth_ml)
    assert np.isnan(scores.curves).all()


def test_the_curve_meets_the_score_at_the_threshold(truth):
    rng = np.random.default_rng(0)
    cams = rng.random((2, *truth.shape)).astype(np.float32)
    scores = score(cams, truth, threshold=0.4, thresholds=[0.2, 0.4])
    assert scores.curves[:, 1] == pytest.approx([row.dice for row in scores.rows])


def test_masks_are_scored_and_maps_make_the_curve(truth):
    cams = maps(truth, truth)
    scores = score_case("017", cams, 0 * cams, truth, names=NAMES, spacing_mm=SPACING_MM, thresholds=[0.5])
    assert scores.fused.empty_prediction
    assert scores.curves[-1].tolist() == [1.0]


def test_a_healthy_case_has_no_curve(truth):
    scores = score(maps(truth, truth), truth * 0)
    assert np.isnan(scores.curves).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("flair", "t1c", "fused")}, "case 017: expected 3 maps"),
        ({"names": ("fused", "flair")}, "case 017: the last of the maps must be fused"),
        ({"masks": np.zeros((6, 6, 4))}, "case 017: expected a mask of each map"),
        ({"truth": np.zeros((6, 6, 5))}, "case 017: the mask must lie on the maps' grid"),
        ({"cams": np.ones((2, 6, 6, 4), dtype=np.uint8)}, "case 017: maps must be floating-point"),
        ({"cams": np.full((2, 6, 6, 4), 1.5)}, r"case 017: map flair must lie in \[0, 1\]"),
        ({"cams": np.full((2, 6, 6, 4), math.nan)}, r"case 017: map flair must lie in \[0, 1\]"),
    ],
)
def test_arrays_that_do_not_fit_are_an_error_that_names_the_case(truth, change, message):
    cams = change.get("cams", maps(truth, truth))
    arguments = {"cams": cams, "masks": cams > 0.5, "truth": truth, "names": NAMES, **change}
    with pytest.raises(ValueError, match=message):
        score_case("017", spacing_mm=SPACING_MM, **arguments)
