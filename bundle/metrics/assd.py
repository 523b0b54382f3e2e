"""ASSD: the average symmetric surface distance of two masks, in mm."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics import compute_average_surface_distance

# MONAI 1.6 warns its users of an argument that only MONAI itself passes on the way to the surfaces.
warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)


def average_surface_distance_mm(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]
) -> float:
    """Average symmetric surface distance (ASSD) of two masks.

    MONAI's ``compute_average_surface_distance(symmetric=True)``: a surface voxel is one with a face neighbour
    outside the mask (the outside of the volume counts as such); each surface voxel of either mask gives its
    distance to the nearest one of the other mask, and the mean runs over all of them together. Both masks
    are first cut to the box that holds them; a test shows that the value stays the same.

    Deviation: nan where either mask is empty (MONAI: inf if one is), so that a mean over cases stays finite
    and the number of defined values has to be given with it.

    Args:
        prediction: predicted mask (X, Y, Z), bool.
        truth: true mask (X, Y, Z), bool.
        spacing_mm: distance of neighbouring voxels along each axis.

    Raises:
        ValueError: if ``spacing_mm`` does not hold one positive number an axis.
    """
    spacing = [float(value) for value in spacing_mm]
    if len(spacing) != truth.ndim or not all(0 < value < math.inf for value in spacing):
        raise ValueError(
            f"spacing_mm must hold {truth.ndim} positive numbers, one an axis, found {spacing}; "
            "take them from the scan's affine"
        )
    if not prediction.any() or not truth.any():
        return math.nan
    box = _box_around(prediction | truth)
    distance = compute_average_surface_distance(
        torch.from_numpy(np.ascontiguousarray(prediction[box]))[None, None],
        torch.from_numpy(np.ascontiguousarray(truth[box]))[None, None],
        include_background=True,
        symmetric=True,
        spacing=spacing,
    )
    return float(distance)


def _box_around(mask: np.ndarray) -> tuple[slice, ...]:
    """Return the smallest box that holds a mask that is not empty."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        inside = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return tuple(box)
