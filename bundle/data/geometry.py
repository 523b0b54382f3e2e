"""How a scan becomes upright square slices, and how maps on those slices go back onto the scan's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from nibabel.orientations import io_orientation
from torch.nn.functional import interpolate

CHUNK_VOXELS = 4 * 2**20  # resized at once: 16 MB of float32, so memory does not grow with the volume


@dataclass(frozen=True)
class SliceGeometry:
    """Grid of one scan and the way from it to slices (S, H, W), H = W, and back.

    Slice s is index s along the third axis of the file as stored. In the plane, columns run towards the
    earlier of left, posterior and inferior, and rows towards the later one (an axial slice: columns from
    right to left, rows from anterior to posterior). Slices are padded symmetrically to a square, then
    resized.

    Args:
        shape: voxels (X, Y, Z) of the scan as stored.
        matrix: voxel to RAS world coordinates in mm, 4 x 4, as nested tuples.
        spatial_size: side of the square slices in pixels; ``None`` keeps the padded size.

    Raises:
        ValueError: the affine is singular, or the shape is not three-dimensional.
    """

    shape: tuple[int, int, int]
    matrix: tuple[tuple[float, ...], ...]
    spatial_size: int | None = None

    @classmethod
    def from_scan(
        cls, shape: Sequence[int], affine: np.ndarray, spatial_size: int | None = None
    ) -> SliceGeometry:
        """Geometry of a scan with `shape` (X, Y, Z) and a 4 x 4 RAS `affine` in mm."""
        matrix = tuple(tuple(float(v) for v in row) for row in np.asarray(affine, dtype=np.float64))
        size = None if spatial_size is None else int(spatial_size)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"a scan has three axes of at least one voxel, found shape {tuple(shape)}")
        if size is not None and size < 1:
            raise ValueError(f"spatial_size is {size}, expected at least 1 or none")
        geometry = cls((int(shape[0]), int(shape[1]), int(shape[2])), matrix, size)
        if not np.isfinite(geometry.affine).all() or abs(np.linalg.det(geometry.affine[:3, :3])) < 1e-9:
            raise ValueError(
                f"the affine is singular, so slices have no direction: {matrix}; correct the header"
            )
        return geometry

    @property
    def affine(self) -> np.ndarray:
        """Voxel to RAS world coordinates in mm, float64 (4, 4)."""
        return np.array(self.matrix, dtype=np.float64)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along each axis as stored."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @cached_property
    def _plane(self) -> tuple[bool, bool, bool]:
        """Whether the stored x axis gives the rows, whether rows are flipped, whether columns are."""
        directions = io_orientation(
            self.affine
        )  # per stored axis: 0, 1, 2 for R/L, A/P, S/I; +1 if towards R, A, S
        x_is_rows = bool(directions[0, 0] > directions[1, 0])
        row_axis, column_axis = (0, 1) if x_is_rows else (1, 0)
        return x_is_rows, bool(directions[row_axis, 1] > 0), bool(directions[column_axis, 1] > 0)

    @property
    def upright_shape(self) -> tuple[int, int]:
        """Rows and columns of a slice before padding."""
        x, y, _ = self.shape
        return (x, y) if self._plane[0] else (y, x)

    @property
    def padded_size(self) -> int:
        """Side of a slice after padding, in the scan's own pixels."""
        return max(self.upright_shape)

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Height and width of a pixel of the slices that `apply` gives."""
        x, y, _ = self.spacing_mm
        rows, columns = (x, y) if self._plane[0] else (y, x)
        return rows * self.padded_size / self.size, columns * self.padded_size / self.size

    @property
    def size(self) -> int:
        """Side of the slices that `apply` gives."""
        return self.spatial_size or self.padded_size

    def apply(
        self, volume: np.ndarray, mode: str = "bilinear", fill: float | Sequence[float] = 0.0
    ) -> np.ndarray:
        """Slices of a volume on the scan's grid.

        Args:
            volume: (X, Y, Z) or (K, X, Y, Z).
            mode: ``bilinear`` (antialiased; gives float32 where anything is resized) or ``nearest`` (keeps
                the values and their type).
            fill: value of the padding, one or one a channel.

        Returns:
            C-contiguous (S, H, W) or (S, K, H, W). If nothing is resized the values and the type stay.
        """
        _check_mode(mode)
        volume = np.asarray(volume)
        if volume.shape[-3:] != self.shape or volume.ndim not in (3, 4):
            raise ValueError(f"expected a volume of {self.shape} or (K, …) voxels, found {volume.shape}")
        channels = volume if volume.ndim == 4 else volume[None]
        fills = np.broadcast_to(np.asarray(fill), (len(channels),))
        resize = self.size != self.padded_size
        kept = np.float32 if resize and mode == "bilinear" else volume.dtype
        slices = np.empty((self.shape[2], len(channels), self.size, self.size), dtype=kept)
        upright = self._upright(channels.transpose(3, 0, 1, 2))
        top, left = self._margins
        rows, columns = self.upright_shape
        for part in self._chunks(len(channels)):
            padded = (
                np.empty((*slices[part].shape[:2], *[self.padded_size] * 2), kept) if resize else slices[part]
            )
            if rows != columns:
                padded[:] = fills[None, :, None, None]
            padded[..., top : top + rows, left : left + columns] = upright[part]
            if resize:
                slices[part] = _resized(torch.from_numpy(padded), self.size, mode).numpy()
        return slices if volume.ndim == 4 else slices[:, 0]

    def restore(self, maps: Any, mode: str = "bilinear") -> Any:
        """Maps on the slices, brought back onto the scan's own grid.

        Args:
            maps: (N, S, H, W), array or tensor.
            mode: ``bilinear`` for maps (float32), ``nearest`` for masks (keeps values and type).

        Returns:
            (N, X, Y, Z), array or tensor like `maps`; in memory the slices lie one after another, as NIfTI
            stores them, so writing a map or a slice of it copies nothing twice.
        """
        _check_mode(mode)
        tensor = torch.as_tensor(maps)
        if tensor.ndim != 4 or tuple(tensor.shape[1:]) != (self.shape[2], self.size, self.size):
            raise ValueError(
                f"expected maps of (N, {self.shape[2]}, {self.size}, {self.size}), "
                f"found {tuple(tensor.shape)}"
            )
        resize = self.size != self.padded_size
        kept = tensor.dtype if not resize or mode == "nearest" else torch.float32
        x, y, z = self.shape
        memory = torch.empty((len(tensor), z, y, x), dtype=kept, device=tensor.device)
        volume = memory.permute(0, 3, 2, 1)
        top, left = self._margins
        rows, columns = self.upright_shape
        x_is_rows, flip_rows, flip_columns = self._plane
        flipped = [axis for axis, flip in ((2, flip_rows), (3, flip_columns)) if flip]
        for part in self._chunks(len(tensor)):
            square = tensor[:, part]
            if resize:
                square = _resized(square, self.padded_size, mode)
            upright = square[..., top : top + rows, left : left + columns].flip(flipped)
            memory[:, part] = upright.transpose(2, 3) if x_is_rows else upright
        return volume if isinstance(maps, torch.Tensor) else volume.numpy()

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON; `from_dict` gives an equal geometry."""
        return {
            "shape": list(self.shape),
            "affine": [list(row) for row in self.matrix],
            "spatial_size": self.spatial_size,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SliceGeometry:
        """Geometry that `to_dict` described."""
        return cls.from_scan(values["shape"], np.array(values["affine"]), values["spatial_size"])

    @property
    def _margins(self) -> tuple[int, int]:
        rows, columns = self.upright_shape
        return (self.padded_size - rows) // 2, (self.padded_size - columns) // 2

    def _upright(self, stored: np.ndarray) -> np.ndarray:
        """View of (S, K, X, Y) as (S, K, rows, columns)."""
        x_is_rows, flip_rows, flip_columns = self._plane
        upright = stored if x_is_rows else stored.swapaxes(2, 3)
        return upright[:, :, :: -1 if flip_rows else 1, :: -1 if flip_columns else 1]

    def _chunks(self, channels: int) -> list[slice]:
        step = max(1, CHUNK_VOXELS // (max(channels, 1) * max(self.padded_size, self.size) ** 2))
        return [slice(start, min(start + step, self.shape[2])) for start in range(0, self.shape[2], step)]


def _check_mode(mode: str) -> None:
    if mode not in ("bilinear", "nearest"):
        raise ValueError(f"mode is {mode!r}, expected bilinear or nearest")


def _resized(squares: torch.Tensor, size: int, mode: str) -> torch.Tensor:
    """(A, B, n, n) resized to (A, B, size, size); pixel corners coincide."""
    if mode == "nearest":
        return interpolate(squares.float(), size=(size, size), mode="nearest-exact").to(squares.dtype)
    return interpolate(
        squares.float(), size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
