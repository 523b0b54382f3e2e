"""Masks and foregrounds: binary volumes on the scan's grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bundle.data.grids import Grid, difference, resample, takes_header
from bundle.data.scans import read_scan_3d

# A mask stored as scaled integers comes back as 0.99999997; what is further from a whole number was
# interpolated or is a probability.
FRACTION_TOLERANCE = 1e-3


def read_mask(
    path: Path,
    case: str,
    grid: Grid | None = None,
    other_grids: Sequence[Grid] = (),
    affines_from_reference: bool = False,
) -> tuple[np.ndarray, Grid]:
    """Read a mask as 0 and 1: any value above 0 is positive.

    Args:
        path: mask file.
        case: case id, for errors.
        grid: the scan's grid, which the mask must lie on; ``None`` to take the mask's own.
        other_grids: grids of the case's modalities, before resampling: a mask drawn on one of them is brought
            onto ``grid`` by nearest neighbour. Leave it empty where nothing may be resampled.
        affines_from_reference: see `read_case`.

    Returns:
        (X, Y, Z) uint8, and its grid.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: damaged, with channels, NaN, fractional, or on another grid.
    """
    scan = read_scan_3d(Path(path), case, "mask")
    values = scan.array
    if values.dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(low + high):
            raise ValueError(f"case {case}: mask {scan.path} holds NaN or infinite values; repair the mask")
        if (off := np.abs(values - np.rint(values)) > FRACTION_TOLERANCE).any():
            raise ValueError(
                f"case {case}: mask {scan.path} must hold whole numbers ({int(off.sum())} voxels do not, "
                f"such as {float(values[off][0]):.4g}); threshold it, or resample it by nearest neighbour"
            )
    binary = values > 0.5
    if grid is not None:
        binary = _onto(binary, scan.grid, grid, other_grids, affines_from_reference, f"case {case}: mask")
    return np.asfortranarray(binary).view(np.uint8), grid or scan.grid


def read_foreground(
    path: Path,
    case: str,
    grid: Grid,
    other_grids: Sequence[Grid] = (),
    affines_from_reference: bool = False,
) -> np.ndarray:
    """Read a file that is above 0 inside the body part; arguments as `read_mask`.

    Returns:
        (X, Y, Z) bool on ``grid``.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"case {case}: the foreground is missing (looked for {path}); "
            "add the file or drop `foreground` from the patterns"
        )
    scan = read_scan_3d(path, case, "foreground")
    inside = scan.array > FRACTION_TOLERANCE
    if not inside.any():
        raise ValueError(
            f"case {case}: foreground {path} must be above 0 somewhere (it is nowhere); "
            "replace the file or drop `foreground` from the patterns"
        )
    inside = _onto(inside, scan.grid, grid, other_grids, affines_from_reference, f"case {case}: foreground")
    return np.asfortranarray(inside)


def _onto(
    volume: np.ndarray,
    own: Grid,
    grid: Grid,
    other_grids: Sequence[Grid],
    affines_from_reference: bool,
    subject: str,
) -> np.ndarray:
    """Bring a bool volume onto the case's grid where that is allowed."""
    if takes_header(own, grid, affines_from_reference):
        return volume
    if any(own.same_voxels(other) for other in other_grids):
        return resample(volume, own, grid, "nearest") > 0.5
    remedy = "draw it on the reference scan"
    if own.same_voxels(grid):
        remedy = "it is stored along other axes: name the `--reference` modality and it is turned"
    elif own.shape == grid.shape:
        remedy = (
            "if the voxels coincide and only the header is wrong, use `--affines_from_reference`; if it was "
            "drawn on another modality of the case, name the `--reference`"
        )
    elif not other_grids:
        remedy = "if it was drawn on another modality of the case, name the `--reference`"
    raise ValueError(f"{subject} should lie on the grid of the scan ({difference(own, grid)}); {remedy}")
