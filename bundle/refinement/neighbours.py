"""Neighbouring slices tell each other: maps smoothed across slices."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform
from scipy.ndimage import gaussian_filter1d

TRUNCATE = 3.0  # standard deviations after which the Gaussian ends


class SmoothMapsd(Transform):
    """Gaussian smoothing of every map on the scan's own grid, across slices and, on request, within them.

    Slices are read one by one. Averaged with its neighbours, a slice called negative between positive ones gets a
    lesion again, and a lone positive one loses it. Beyond the first and the last slice the outermost one goes on.
    Reads ``cams`` (M, X, Y, Z) in [0, 1], slices along the last axis, and ``spacing_mm``; writes ``cams``, and adds a
    line to ``map_steps``, what reports say was done to the maps.

    Args:
        slices_mm: standard deviation across slices, in mm; 0: none.
        plane_mm: standard deviation within slices, in mm; 0: none.

    Raises:
        ValueError: for a negative width.
    """

    def __init__(self, slices_mm: float = 0.0, plane_mm: float = 0.0) -> None:
        for name, value in (("smooth_slices_mm", slices_mm), ("smooth_plane_mm", plane_mm)):
            if not value >= 0:
                raise ValueError(f"{name}: expected a width of at least 0 mm, got {value}; 0 switches it off")
        self.widths_mm = (float(plane_mm), float(plane_mm), float(slices_mm))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if not any(self.widths_mm):
            return d
        cams = torch.as_tensor(d["cams"])
        smooth = cams.cpu().numpy()
        for axis, (width, spacing) in enumerate(zip(self.widths_mm, d["spacing_mm"], strict=True)):
            if width > 0:
                smooth = gaussian_filter1d(
                    smooth, width / float(spacing), axis=axis + 1, mode="nearest", truncate=TRUNCATE
                )
        plane, _, across = self.widths_mm
        parts = [f"{across:g} mm across slices"] * (across > 0) + [f"{plane:g} mm within slices"] * (
            plane > 0
        )
        d["map_steps"] = (*d.get("map_steps", ()), f"maps smoothed {' and '.join(parts)}")
        d["cams"] = torch.from_numpy(np.clip(smooth, 0.0, 1.0)).to(cams.device)
        return d
