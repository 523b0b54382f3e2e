"""Random changes of a training batch's intensities, made before its two views part, so that both share them."""

from __future__ import annotations

from collections.abc import Callable

import torch

Augmentation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class IntensityJitter:
    """Scale and shift of each modality of each slice or 3D patch: ``x * (1 + a) + b`` inside the foreground.

    MONAI's ``RandScaleIntensityd`` and ``RandShiftIntensityd`` do this slice by slice, shift the empty background
    along and draw from states that a resumed run does not restore; here torch's generator draws, which it does.

    Args:
        scale_frac: a is drawn from [-scale_frac, scale_frac].
        shift: b is drawn from [-shift, shift], in standard deviations of the volume's foreground.

    Raises:
        ValueError: for a negative number.
    """

    def __init__(self, scale_frac: float = 0.1, shift: float = 0.1) -> None:
        if scale_frac < 0 or shift < 0:
            raise ValueError(
                f"IntensityJitter: expected numbers from 0 up, got scale_frac {scale_frac}, shift {shift}"
            )
        self.scale_frac, self.shift = scale_frac, shift

    def __call__(self, image: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
        """Images (B, K, H, W[, D]) and foreground (B, 1, H, W[, D]) to changed images."""
        drawn = torch.rand((2, *image.shape[:2], *[1] * (image.ndim - 2)))
        scale, shift = (2 * drawn - 1).to(image)
        return image + foreground * (self.scale_frac * scale * image + self.shift * shift)
