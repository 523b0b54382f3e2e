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

    Raises:
        FileNotFoundError: the case has no mask, or the file is missing.
        ValueError: the mask is damaged, fractional or on another grid.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        geometry = geometry_of(d)
        if not d["truth"]:
            raise FileNotFoundError(
                f"case {d['case']}: evaluation needs its mask, found none; prepare the data with masks, name it as "
                f"`label` in the datalist or in `patterns`, or run configs/inference.yaml instead"
            )
        grid = Grid(geometry.shape, geometry.affine)
        d["mask"], _ = read_mask(Path(d["truth"]), d["case"], grid, other_grids=[grid])
        return d
