"""Intensities: clipped and z-scored by the volume's foreground, or z-scored slice by slice as in the paper."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform


class NormalizeByForegroundd(MapTransform):
    """Clip to the volume's percentiles and z-score, both measured inside the foreground; 0 outside it.

    Needs ``statistics`` (K, 4): low, high (0.5 and 99.5 percentile), mean and SD of the clipped voxels, and
    ``foreground`` (1, ...) beside the image (K, ...), as the data sets give them. Zero outside is also what a
    warp fills in.

    Args:
        keys: images (K, ...).
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            image = d[key]
            shape = (-1,) + (1,) * (image.ndim - 1)
            low, high, mean, std = (column.reshape(shape) for column in d["statistics"].unbind(1))
            clipped = torch.minimum(torch.maximum(image, low), high)
            d[key] = clipped.sub_(mean).div_(std.clamp(min=1e-6)).mul_(d["foreground"])
        return d


class LowestToZerod(MapTransform):
    """Shift each slice and channel so that its lowest value, the background of most scans, is 0.

    A warp fills in 0; where the background is another number (scans that were z-scored before, say), that would be
    bright tissue. Z-scoring a slice afterwards gives the same as without the shift.

    Args:
        keys: images, channels first, then rows and columns: (K, H, W) or (K, H, W, S).
    """

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = d[key] - d[key].amin(dim=(1, 2), keepdim=True)
        return d


class SliceNormalization:
    """Each slice and channel to mean 0 and SD 1, background included (Patel and Dolz 2022, published code).

    Applied after the warp, so that padding is raw 0 as in that code.

    Args:
        epsilon: added to the SD (published code: 1e-12).
    """

    def __init__(self, epsilon: float = 1.0e-12) -> None:
        self.epsilon = epsilon

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """(B, K, H, W) to the same shape; a constant slice gives 0."""
        std, mean = torch.std_mean(image, dim=(2, 3), keepdim=True)
        return (image - mean) / (std + self.epsilon)
