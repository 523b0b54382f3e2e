"""Where a volume's voxels lie in space: comparing grids, and resampling from one onto another."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample

# Two headers agree if no voxel moves by more than this share of the smallest voxel edge: rounding in
# headers (float32 rotations, spacings written with four digits) stays below 2 %, and a shift of a
# twentieth of a voxel changes no interpolated value visibly.
TOLERANCE_FRAC = 0.05


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxel grid of a 3D volume.

    Args:
        shape: number of voxels along each axis as stored.
        affine: 4x4, voxel index to RAS position in mm (nibabel's convention).
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> np.ndarray:
        """Edge lengths of a voxel along the stored axes."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def gap_mm(self, other: Grid) -> float:
        """Largest distance between voxels of equal index; the shapes must be equal."""
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")).reshape(3, -1)
        difference = self.affine[:3] - other.affine[:3]
        return float(np.linalg.norm(difference[:, :3] @ corners + difference[:, 3:], axis=0).max())

    def matches(self, other: Grid) -> bool:
        """Whether voxels of equal index lie at the same place."""
        limit = TOLERANCE_FRAC * float(min(self.spacing_mm.min(), other.spacing_mm.min()))
        return self.shape == other.shape and self.gap_mm(other) <= limit

    def same_voxels(self, other: Grid) -> bool:
        """Whether the two grids have the same voxels, though perhaps stored along other axes or reversed."""
        turn = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(self.affine), nib.orientations.io_orientation(other.affine)
        )
        shape = [0, 0, 0]
        for axis, size in enumerate(self.shape):
            shape[int(turn[axis, 0])] = size
        affine = self.affine @ nib.orientations.inv_ornt_aff(turn, self.shape)
        return Grid((shape[0], shape[1], shape[2]), affine).matches(other)

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape))
        spacing = "x".join(f"{edge:.4g}" for edge in self.spacing_mm)
        origin = ", ".join(f"{v:.1f}" for v in self.affine[:3, 3])
        axes = "".join(nib.aff2axcodes(self.affine))
        return f"{size} voxels of {spacing} mm, axes {axes}, first voxel at ({origin}) mm"


def resample(volume: np.ndarray, source: Grid, target: Grid, mode: str) -> np.ndarray:
    """Bring a volume from its own grid onto another with MONAI's `SpatialResample`.

    Args:
        volume: (X, Y, Z) on ``source``.
        source: grid of the volume.
        target: grid of the result.
        mode: ``bilinear`` for images, ``nearest`` for masks.

    Returns:
        float32, of the target's shape. Outside the source's field of view it is the volume's minimum, since
        0 is bright tissue in a scan whose background is negative.
    """
    fill = float(volume.min())
    moving = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32) - np.float32(fill))[None]
    result = SpatialResample(mode=mode, padding_mode="zeros")(
        MetaTensor(moving, affine=torch.from_numpy(source.affine)),
        dst_affine=torch.from_numpy(target.affine),
        spatial_size=target.shape,
    )
    return result[0].numpy() + np.float32(fill)


def takes_header(own: Grid, grid: Grid, affines_from_reference: bool) -> bool:
    """Whether a file's voxels may be used on ``grid`` as they are."""
    if own.matches(grid):
        return True
    # A file that is merely stored along other axes has a right header: taking the reference's would flip it.
    return affines_from_reference and own.shape == grid.shape and not own.same_voxels(grid)


def difference(own: Grid, grid: Grid) -> str:
    """Both grids in words, for errors."""
    apart = f"; equal indices lie up to {own.gap_mm(grid):.3g} mm apart" if own.shape == grid.shape else ""
    return f"its grid: {own}; the scan's: {grid}{apart}"
