"""Neighbouring slices of one case as a volume: what a network of three dimensions sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import SpatialPad
from monai.utils import convert_to_tensor

from bundle.data.cache import PreparedCase
from bundle.data.datasets import SliceDataset
from bundle.data.labels import UNTAGGED


def read_block(
    case: PreparedCase, channels: Sequence[int], box: tuple[slice, slice, slice]
) -> tuple[torch.Tensor, torch.Tensor]:
    """A part of a prepared case, of which nothing else is read.

    Args:
        case: where it lies.
        channels: of the stored ones, in the network's order.
        box: slices, rows and columns.

    Returns:
        Image (K, h, w, d) and foreground (1, h, w, d), float32, slices last.
    """
    image = case.image[box[0], :, box[1], box[2]][:, list(channels)]
    foreground = case.foreground[box][:, None]
    return _volume(image), _volume(foreground)


class SlabDataset(SliceDataset):
    """Whole cases cut into slabs of neighbouring slices, with the slices' tags, for networks of three dimensions.

    An item is ``{"image": float32 (K, H, W, depth), "foreground": float32 (1, H, W, depth), "label": float32 (depth,):
    1 positive, 0 negative, -1 none, "statistics": float32 (K, 4), "case": str, "slice": int, the first one}``, after
    `transform`. Each tag is in one slab: the last slab of a case reaches back for slices that it shows without their
    tags, and a case thinner than a slab is padded with 0. Slabs without a tag are left out.

    Args:
        data: entries of a datalist, as for `SliceDataset`.
        modalities: as for `SliceDataset`.
        depth: slices of a slab.
        options: those of `SliceDataset`, by name.

    Raises:
        ValueError: `depth` is not positive, or what `SliceDataset` raises.
    """

    def __init__(
        self, data: Sequence[dict[str, Any]], modalities: Sequence[str] | str, depth: int, **options: Any
    ) -> None:
        if depth < 1:
            raise ValueError(f"SlabDataset depth: expected at least 1 slice, got {depth}")
        super().__init__(data, modalities, **options)
        self.depth = depth
        self._slabs = np.unique(np.stack([self.case_index, self.slice_index // depth], axis=1), axis=0)

    def __len__(self) -> int:
        return len(self._slabs)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Items of a whole batch."""
        return [self._slab(*map(int, self._slabs[index])) for index in indices]

    def _slab(self, number: int, part: int) -> dict[str, Any]:
        case = self.cases[number]
        first = max(0, min(part * self.depth, case.slices - self.depth))
        box = (slice(first, first + self.depth), slice(None), slice(None))
        image, foreground = read_block(case, self._channels[number], box)
        label = torch.full(image.shape[-1:], float(UNTAGGED))
        rows = np.flatnonzero((self.case_index == number) & (self.slice_index // self.depth == part))
        label[self.slice_index[rows] - first] = torch.from_numpy(self.tags[rows].astype(np.float32))
        item: dict[str, Any] = {
            "image": image,
            "foreground": foreground,
            "label": label,
            "statistics": self._statistics[number].clone(),
            "case": case.case,
            "slice": first,
        }
        item = item if self.transform is None else self.transform(item)
        size = (-1, -1, self.depth)
        item |= {key: padded(item[key], size) for key in ("image", "foreground")}
        tagged = padded(label[None, None, None] - UNTAGGED, size)  # 0 where no tag is, as in the padding
        return {**item, "label": tagged.flatten() + UNTAGGED}


def padded(volume: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """A volume (C, h, w, d) with 0 around it up to a size, of which -1 stands for the volume's own."""
    return convert_to_tensor(SpatialPad(size)(volume), track_meta=False)


def _volume(slices: np.ndarray) -> torch.Tensor:
    """Slices (d, C, h, w) as a volume (C, h, w, d)."""
    return torch.from_numpy(slices.astype(np.float32)).permute(1, 2, 3, 0).contiguous()
