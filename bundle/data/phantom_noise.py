"""Smooth random fields, the same at every voxel size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def spline_noise(
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    extent_mm: Sequence[float],
    scale_mm: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draws a smooth random field: a cubic B-spline over random control points ``scale_mm`` apart.

    The control points depend on ``extent_mm`` and not on the grid, so one seed gives one field on every grid.

    Args:
        shape: voxels along x, y and z.
        spacing_mm: edges of a voxel.
        extent_mm: size of the field of view, at least what the grid covers.
        scale_mm: distance of the control points.
        rng: source of the control points.

    Returns:
        float32 of ``shape``, mean about 0 and standard deviation about 1.
    """
    counts = [int(np.ceil(n / scale_mm)) + 4 for n in extent_mm]
    field = rng.standard_normal(counts, dtype=np.float32)
    for axis, (n, edge) in enumerate(zip(shape, spacing_mm, strict=True)):
        position = np.arange(n) * edge / scale_mm
        index = position.astype(int)
        t = position - index
        taps = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        lined = [-1 if i == axis else 1 for i in range(3)]
        field = sum(
            np.take(field, index + k, axis=axis) * (w / 6).astype(np.float32).reshape(lined)
            for k, w in enumerate(taps)
        )
    # 0.479 is the mean over t of the sum of squared taps, so each axis shrinks the variance by it.
    return field / np.float32(0.479**1.5)
