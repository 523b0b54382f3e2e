"""ASSD on pictures with known distances."""

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance

from bundle.metrics import average_surface_distance_mm

SPACING_MM = (1.0, 2.0, 5.0)


def voxels(*positions: tuple[int, int, int], shape: tuple[int, int, int] = (9, 9, 9)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for position in positions:
        mask[position] = True
    return mask


def box(low: int, high: int, shape: tuple[int, int, int] = (9, 9, 9)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[low:high, low:high, low:high] = True
    return mask


@pytest.mark.parametrize(
    ("other", "distance_mm"),
    [((5, 2, 2), 3.0), ((2, 4, 2), 4.0), ((2, 2, 3), 5.0), ((5, 4, 2), 5.0)],  # the last: 3 and 4 mm
)
def test_two_voxels_are_as_far_apart_as_the_spacing_says(other, distance_mm):
    found = average_surface_distance_mm(voxels((2, 2, 2)), voxels(other), SPACING_MM)
    assert found == pytest.approx(distance_mm)


def test_the_mean_runs_over_the_surfaces_of_both_masks():
    # prediction to truth: 0 and 3 mm, truth to prediction: 0 mm; together 3 / 3
    prediction, truth = voxels((2, 2, 2), (5, 2, 2)), voxels((2, 2, 2))
    assert average_surface_distance_mm(prediction, truth, SPACING_MM) == pytest.approx(1.0)
    assert average_surface_distance_mm(truth, prediction, SPACING_MM) == pytest.approx(1.0)


def test_cube_in_a_cube_by_hand():
    # Sides 3 and 5, one centre, 1 mm. The inner one's 26 surface voxels lie 1 mm from the outer surface.
    # Of the outer one's 98, 6 x 9 lie 1 mm from the inner cube (faces), 12 x 3 sqrt(2) (edges), 8 sqrt(3)
    # (corners).
    expected = (26 + 54 + 36 * math.sqrt(2) + 8 * math.sqrt(3)) / (26 + 98)
    found = average_surface_distance_mm(box(3, 6), box(2, 7), (1, 1, 1))
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_edge_of_the_volume_is_a_surface():
    # The truth fills its 3 x 3 x 3 volume: 26 surface voxels (6, 12, 8 at 1, sqrt(2), sqrt(3) mm from the
    # centre), and the centre is 1 mm from the nearest of them.
    centre, full = voxels((1, 1, 1), shape=(3, 3, 3)), np.ones((3, 3, 3), dtype=bool)
    expected = (1 + 6 + 12 * math.sqrt(2) + 8 * math.sqrt(3)) / 27
    found = average_surface_distance_mm(centre, full, (1, 1, 1))
    assert found == pytest.approx(expected, rel=1e-5)


def test_identical_masks_have_no_distance():
    assert average_surface_distance_mm(box(2, 7), box(2, 7), SPACING_MM) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_cutting_to_the_masks_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    prediction, truth = np.zeros((2, 20, 18, 16), dtype=bool)
    prediction[6:14, 0:9, 5:16] = rng.random((8, 9, 11)) > 0.4  # touches two sides of the volume
    truth[7:16, 2:11, 4:12] = rng.random((9, 9, 8)) > 0.4
    whole = compute_average_surface_distance(
        torch.from_numpy(prediction)[None, None],
        torch.from_numpy(truth)[None, None],
        include_background=True,
        symmetric=True,
        spacing=list(SPACING_MM),
    )
    assert average_surface_distance_mm(prediction, truth, SPACING_MM) == pytest.approx(whole.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("prediction", "truth"), [(box(0, 0), box(0, 0)), (box(0, 0), box(2, 4)), (box(2, 4), box(0, 0))]
)
def test_an_empty_mask_has_no_surface_to_measure(prediction, truth):
    assert math.isnan(average_surface_distance_mm(prediction, truth, SPACING_MM))


@pytest.mark.parametrize("spacing_mm", [(1, 1), (1, 0, 1), (1, math.nan, 1), (1, math.inf, 1)])
def test_a_spacing_that_is_none_is_an_error(spacing_mm):
    with pytest.raises(ValueError, match="3 positive numbers"):
        average_surface_distance_mm(box(2, 4), box(2, 4), spacing_mm)
