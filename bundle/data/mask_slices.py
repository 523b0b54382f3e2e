"""Slices with their masks: the upper bound alone learns from them, so nothing else names this file's class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bundle.data.cache import PreparedCase
from bundle.data.datalists import truth_path
from bundle.data.datasets import SliceDataset
from bundle.data.grids import Grid
from bundle.data.masks import read_mask


class MaskSliceDataset(SliceDataset):
    """The slices of `SliceDataset`, whose ``label`` is the mask: float32 (1, H, W) of 0 and 1.

    For full supervision (``configs/method_supervised.yaml``), which uses the same tagged slices as the others.
    All masks are read once, when training starts, and kept as bits: 7 kB a slice of 240 x 240.

    Args:
        data: entries of a datalist, as for `SliceDataset`; each case needs a mask.
        options: those of `SliceDataset`, by name.

    Raises:
        ValueError: a case has no mask, or what `SliceDataset` raises.
    """

    def __init__(self, data: Sequence[dict[str, Any]], *args: Any, **options: Any) -> None:
        self._truths = [truth_path(entry) for entry in data]
        super().__init__(data, *args, **options)
        trusted = bool(options.get("affines_from_reference", False))
        self._bits: list[np.ndarray] = []
        for number, case in enumerate(tqdm(self.cases, desc="masks", unit="case")):
            mask = self._read(case, self._truths[number], trusted)
            kept = self.slice_index[self.case_index == number]
            self._bits.extend(np.packbits(mask[position]) for position in kept)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Items of a whole batch."""
        items = super().__getitems__(indices)
        for item, index in zip(items, indices, strict=True):
            item["label"] = self._mask(index)
        return items

    def _mask(self, index: int) -> torch.Tensor:
        size = self.cases[0].geometry.size
        mask = np.unpackbits(self._bits[index], count=size * size).reshape(1, size, size)
        return torch.from_numpy(mask.astype(np.float32))

    @staticmethod
    def _read(case: PreparedCase, path: Path | None, affines_from_reference: bool) -> np.ndarray:
        """Mask as slices (S, H, W), 0 and 1."""
        if path is None:
            raise ValueError(
                f"case {case.case}: full supervision needs its mask, found none; prepare the data with masks, "
                f"give a mask as `label` of the datalist, or train on tags (any method but method_supervised)"
            )
        grid = Grid(case.geometry.shape, case.geometry.affine)
        mask, _ = read_mask(path, case.case, grid, [grid], affines_from_reference)
        return case.geometry.apply(mask, "nearest") > 0
