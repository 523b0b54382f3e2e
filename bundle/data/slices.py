"""A case that was read, as upright square slices with their foreground and statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bundle.data.foreground import background_value, find_foreground
from bundle.data.geometry import SliceGeometry

if TYPE_CHECKING:
    from bundle.data.volumes import CaseVolumes

STATISTICS = ("low", "high", "mean", "std")
PERCENTILES = (0.5, 99.5)  # nnU-Net's clipping range (Isensee 2021)


@dataclass(frozen=True)
class SliceArrays:
    """A case as slices, before it is stored or predicted.

    Args:
        image: (S, K, H, W), raw intensities.
        foreground: bool (S, H, W).
        statistics: float32 (K, 4): low, high, mean, std, see `foreground_statistics`.
        geometry: the way back to the scan's grid.
    """

    image: np.ndarray
    foreground: np.ndarray
    statistics: np.ndarray
    geometry: SliceGeometry

    @property
    def blank(self) -> np.ndarray:
        """bool (S,): slices without foreground."""
        return np.asarray(~self.foreground.any(axis=(1, 2)))


def foreground_statistics(image: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Per modality the 0.5 and 99.5 percentile inside the foreground, then mean and population standard
    deviation of the foreground clipped to them: float32 (K, 4)."""
    statistics = np.empty((len(image), len(STATISTICS)), dtype=np.float32)
    for channel, row in zip(image, statistics, strict=True):
        inside = channel[foreground].astype(np.float32)
        low, high = np.percentile(inside, PERCENTILES)
        clipped = np.clip(inside, low, high)
        row[:] = low, high, clipped.mean(dtype=np.float64), clipped.std(dtype=np.float64)
    return statistics


def to_slices(volumes: CaseVolumes, spatial_size: int | None = None) -> SliceArrays:
    """Slices, foreground and statistics of a case that was read.

    The foreground is the case's own if it came with one, else it is found in the images. Statistics are
    taken on the scan's own grid, before anything is resized. Padding has the background's value.

    Raises:
        ValueError: the foreground is empty.
    """
    image = volumes.image
    foreground = find_foreground(image) if volumes.foreground is None else volumes.foreground.astype(bool)
    if not foreground.any():
        raise ValueError(
            f"case {volumes.case}: the foreground is empty, expected some voxels above 0; correct the "
            "foreground file or leave it out to have it found in the images"
        )
    try:
        geometry = SliceGeometry.from_scan(image.shape[1:], volumes.affine, spatial_size)
    except ValueError as error:
        raise ValueError(f"case {volumes.case}: {error}") from None
    backgrounds = [background_value(channel) for channel in image]
    fill = [channel.min() if b is None else b for channel, b in zip(image, backgrounds, strict=True)]
    return SliceArrays(
        image=geometry.apply(image, "bilinear", fill=fill),
        foreground=geometry.apply(foreground, "nearest"),
        statistics=foreground_statistics(image, foreground),
        geometry=geometry,
    )
