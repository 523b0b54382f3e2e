"""True masks, for evaluation alone: nothing here is reachable from training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.transforms import Transform

from bundle.data.collate import geometry_of
from bundle.data.grids import Grid
from bundle.data.masks import read_mask


class LoadTruthd(Transform):
    """Read a case's mask from the path under ``truth`` onto the scan's own grid, as ``mask`` (X, Y, Z), uint8.

    A case without a mask (``truth`` is empty) gets no ``mask``.

    Args:
        affines_from_reference: a mask of the scan's shape whose header says another position takes the scan's.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the mask is damaged, fractional or on another grid.
    """

    def __init__(self, affines_from_reference: bool = False) -> None:
        self.affines_from_reference = affines_from_reference

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if not d["truth"]:
            return d
        geometry = geometry_of(d)
        grid = Grid(geometry.shape, geometry.affine)
        d["mask"], _ = read_mask(Path(d["truth"]), d["case"], grid, [grid], self.affines_from_reference)
        return d
