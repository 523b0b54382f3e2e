"""A drawn affine transform as a value: apply it to images and maps, compose nothing by hand, invert it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

_QUARTER_TURN = np.array(
    [[0.0, -1.0], [1.0, 0.0]]
)  # output -> input coordinates of torch.rot90(x, 1, (-2, -1))
_MIRROR = np.diag([-1.0, 1.0])  # and of a flip along W


@dataclass(frozen=True)
class Warp:
    """The transform pi of Patel and Dolz (2022), eq. 1, one for each sample of a batch.

    It is held as an exact part (a mirror along W, then quarter turns: no interpolation) followed by an
    interpolated part (scale and translation). Both parts are closed under inversion, so the inverse of a
    warp is a warp. Values lie on the CPU: drawing and applying never wait for the device.

    Args:
        turns: quarter turns counter-clockwise, ``int`` (B,), 0 to 3.
        mirrored: whether a sample is first flipped along W, ``bool`` (B,).
        matrix: output -> input coordinates of the interpolated part, ``float`` (B, 2, 3), in units of half the
            side with the origin in the centre, as in ``torch.nn.functional.affine_grid``; ``None`` for none.
    """

    turns: np.ndarray
    mirrored: np.ndarray
    matrix: np.ndarray | None = None

    @classmethod
    def identity(cls, batch: int) -> Warp:
        """A warp that leaves ``batch`` samples as they are."""
        return cls(np.zeros(batch, dtype=int), np.zeros(batch, dtype=bool))

    def __len__(self) -> int:
        return len(self.turns)

    @property
    def is_identity(self) -> bool:
        """Whether it leaves every sample as it is."""
        return self.matrix is None and not self.turns.any() and not self.mirrored.any()

    def apply(self, image: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
        """Warp a batch; what comes from outside the image is 0. Gradients flow through.

        Args:
            image: (B, C, H, W) with H = W; for the identity, volumes and any other shape as well.
            mode: ``"bilinear"`` or ``"nearest"``, for the interpolated part.

        Returns:
            The warped batch, same shape.

        Raises:
            ValueError: if the number of samples differs from the warp's, or the image is not square.
        """
        if self.is_identity and image.shape[0] == len(self):
            return image
        if image.ndim != 4 or image.shape[0] != len(self):
            raise ValueError(
                f"warp: expected an image of shape ({len(self)}, C, H, W), one sample for each drawn transform, "
                f"got {tuple(image.shape)}; draw the warp for this batch"
            )
        if image.shape[-1] != image.shape[-2]:
            raise ValueError(
                f"warp: expected square slices, since quarter turns would change the shape, got "
                f"{image.shape[-2]}x{image.shape[-1]}; prepare the data with padding to squares"
            )
        image = self._exact(image)
        if self.matrix is None:
            return image
        theta = torch.as_tensor(self.matrix, dtype=image.dtype).to(image.device, non_blocking=True)
        grid = F.affine_grid(theta, list(image.shape), align_corners=False)
        return F.grid_sample(image, grid, mode=mode, padding_mode="zeros", align_corners=False)

    def _exact(self, image: torch.Tensor) -> torch.Tensor:
        elements = list(zip(self.turns.tolist(), self.mirrored.tolist(), strict=True))
        kinds = sorted(set(elements))
        if len(kinds) == 1:
            return _turn(image, *kinds[0])
        out = torch.empty_like(image)
        for kind in kinds:
            index = torch.tensor(
                [i for i, element in enumerate(elements) if element == kind], device=image.device
            )
            out = out.index_copy(0, index, _turn(image[index], *kind))
        return out

    def field_of_view(self, image: torch.Tensor) -> torch.Tensor:
        """Pixels of the warped image that come wholly from inside the original one.

        Args:
            image: any batch that the warp fits, (B, C, H, W); only shape, type and device are used.

        Returns:
            1 inside, 0 elsewhere, (B, 1, H, W), without gradient.
        """
        ones = torch.ones_like(image[:, :1], requires_grad=False)
        if self.matrix is None:
            return ones
        with torch.no_grad():
            return (self.apply(ones) > 1 - 1e-3).to(image.dtype)

    def inverse(self) -> Warp:
        """The warp that undoes this one, exactly for the exact part."""
        turns = np.where(self.mirrored, self.turns, (-self.turns) % 4)
        matrix = None
        if self.matrix is not None:
            exact = self._exact_matrix()
            linear = np.linalg.inv(self.matrix[:, :, :2])
            shift = -linear @ self.matrix[:, :, 2:]
            matrix = np.concatenate([exact @ linear @ exact.transpose(0, 2, 1), exact @ shift], axis=2)
        return Warp(turns, self.mirrored, matrix)

    def voxel_matrix(self, size: int) -> np.ndarray:
        """Output -> input voxel indices (row, column) for images of ``size`` pixels a side, (B, 3, 3)."""
        full = np.tile(np.eye(3), (len(self), 1, 1))
        full[:, :2, :2] = self._exact_matrix()
        if self.matrix is not None:
            interpolated = np.tile(np.eye(3), (len(self), 1, 1))
            interpolated[:, :2] = self.matrix
            full = full @ interpolated
        centre = (size - 1) / 2
        to_unit = np.array([[0, 2 / size, -2 * centre / size], [2 / size, 0, -2 * centre / size], [0, 0, 1]])
        return np.linalg.inv(to_unit) @ full @ to_unit

    def _exact_matrix(self) -> np.ndarray:
        turned = np.stack([np.linalg.matrix_power(_QUARTER_TURN, int(k)) for k in self.turns])
        return np.where(self.mirrored[:, None, None], _MIRROR @ turned, turned)


def _turn(image: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    if mirrored:
        image = image.flip(-1)
    return torch.rot90(image, turns, (-2, -1)) if turns else image
