"""What the prostate phantom is drawn with: a grid of thick slices, smooth shapes, and a canvas for T2 and ADC.

A shape is a field in mm, above 0 inside: about the distance to its surface.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bundle.data.phantom_noise import spline_noise

FIELD_OF_VIEW_MM = (192.0, 192.0, 100.0)  # the last bounds what the slices cover
SLICE_MM = 3.6  # Task05_Prostate


@dataclass(frozen=True)
class SliceGrid:
    """Axial slices about the gland, axes towards R, A, S.

    Args:
        spacing_mm: edge of a pixel.
        slices: number of slices, `SLICE_MM` apart.
    """

    spacing_mm: float
    slices: int

    @property
    def shape(self) -> tuple[int, int, int]:
        across, along = (int(np.ceil(mm / self.spacing_mm)) for mm in FIELD_OF_VIEW_MM[:2])
        return across, along, self.slices

    @property
    def edges_mm(self) -> tuple[float, float, float]:
        return self.spacing_mm, self.spacing_mm, SLICE_MM

    @property
    def voxel_ml(self) -> float:
        return float(np.prod(self.edges_mm)) / 1000.0

    def points_mm(self) -> np.ndarray:
        """(3, X, Y, Z), position of each voxel; 0 is the middle of the field of view."""
        half = (FIELD_OF_VIEW_MM[0] / 2, FIELD_OF_VIEW_MM[1] / 2, self.slices * SLICE_MM / 2)
        axes = [(np.arange(n) + 0.5) * e - h for n, e, h in zip(self.shape, self.edges_mm, half, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)

    def noise(self, scale_mm: float, rng: np.random.Generator) -> np.ndarray:
        """A smooth field of mean 0 and standard deviation 1, the same at every pixel size."""
        return spline_noise(self.shape, self.edges_mm, FIELD_OF_VIEW_MM, scale_mm, rng)

    def share(self, field: np.ndarray, blur_mm: float = 0.0) -> np.ndarray:
        """Share of each voxel inside a shape: surfaces that cut a thick slice obliquely are soft there."""
        oblique = np.abs(np.gradient(field, axis=2))
        return np.clip(0.5 + field / (self.spacing_mm + blur_mm + oblique), 0, 1)


class Canvas:
    """T2 and ADC of one subject, painted shape upon shape.

    Args:
        grid: where.
        values: tissue to its T2 and ADC.
    """

    def __init__(self, grid: SliceGrid, values: Mapping[str, tuple[float, float]]) -> None:
        self.grid = grid
        self.values = values
        self.t2, self.adc = (np.full(grid.shape, value, np.float32) for value in values["fat"])

    def paint(
        self,
        field: np.ndarray,
        tissue: str,
        texture: np.ndarray | float = 1.0,
        adc_texture: np.ndarray | float = 1.0,
        blur_mm: float = 0.0,
    ) -> None:
        """Puts a tissue where a shape is; textures multiply its values."""
        share = self.grid.share(field, blur_mm)
        t2, adc = self.values[tissue]
        self.t2 += share * (t2 * texture - self.t2)
        self.adc += share * (adc * adc_texture - self.adc)


def ellipsoid(points: np.ndarray, centre: Sequence[float], half: Sequence[float]) -> np.ndarray:
    """An ellipsoid with the half axes ``half``, all in mm."""
    offsets = [(p - c) / h for p, c, h in zip(points, centre, half, strict=True)]
    reach = np.sqrt(sum(o**2 for o in offsets))
    slope = np.sqrt(sum((o / h) ** 2 for o, h in zip(offsets, half, strict=True)))
    return reach * (1 - reach) / np.maximum(slope, 1e-4)


def capsule(points: np.ndarray, start: Sequence[float], end: Sequence[float], radius: float) -> np.ndarray:
    """What lies within ``radius`` of the line from ``start`` to ``end``, all in mm."""
    direction = np.subtract(end, start)
    from_start = [p - s for p, s in zip(points, start, strict=True)]
    along = sum(o * d for o, d in zip(from_start, direction, strict=True)) / float(direction @ direction)
    along = np.clip(along, 0, 1)
    return radius - np.sqrt(sum((o - along * d) ** 2 for o, d in zip(from_start, direction, strict=True)))


def level_for(field: np.ndarray, voxels: float) -> float:
    """The level above which a field has the given number of voxels."""
    count = int(np.clip(round(voxels), 0, field.size - 1))
    return float(np.partition(field, -count - 1, axis=None)[-count - 1])
