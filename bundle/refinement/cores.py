"""Where a map is sure of a lesion, and what surrounds it there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from bundle.refinement.masks import ALL_NEIGHBOURS, bounding_box

BOUNDARY = 0.5  # of the maps, which refinements keep


def sure_core(fused: np.ndarray, inside: np.ndarray, peak: float) -> np.ndarray:
    """Where a map (X, Y, Z) exceeds 0.5 inside the foreground, in components that somewhere exceed the peak, bool."""
    above = (fused > BOUNDARY) & inside
    if peak == BOUNDARY or not above.any():
        return above
    return holding(above, fused > peak)


def holding(mask: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Those components of a mask that hold a wanted voxel."""
    components, _ = ndimage.label(mask, ndimage.generate_binary_structure(3, ALL_NEIGHBOURS))
    return mask & np.isin(components, np.unique(components[mask & wanted]))


def surroundings(
    core: np.ndarray, around_mm: float, spacing_mm: np.ndarray
) -> tuple[tuple[slice, ...], np.ndarray]:
    """The box of a core and all that lies within some mm of it, and where in that box this is, bool."""
    box = widened_box(core, around_mm, spacing_mm)
    away = ndimage.distance_transform_edt(~core[box], sampling=spacing_mm)
    return box, away <= around_mm


def widened_box(mask: np.ndarray, margin_mm: float | np.ndarray, spacing_mm: np.ndarray) -> tuple[slice, ...]:
    """Smallest box that holds a mask and a margin in mm, of all axes or of each, as far as the scan goes."""
    margin = np.ceil(margin_mm / spacing_mm).astype(int)
    return tuple(
        slice(max(0, side.start - more), side.stop + more)
        for side, more in zip(bounding_box(mask), margin, strict=True)
    )


def spacings(spacing_mm: Sequence[float]) -> np.ndarray:
    """A case's voxel sizes (3,) in mm."""
    return np.asarray([float(value) for value in spacing_mm])
