"""Random changes of a training batch's intensities, made before its two views part, so that both share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


class ModalityDropout:
    """Some modalities of some slices or patches become 0, the tissue's mean, so that a network learns to go without.

    Each slice loses a random proper subset with probability `prob`: first how many stay is drawn, then which; so
    every size is as frequent and a single modality is met as often as nearly all of them.

    Args:
        prob: of a slice to lose something; 0 to 1.

    Raises:
        ValueError: for another number.
    """

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"ModalityDropout prob: expected a number in [0, 1], got {prob}")
        self.prob = prob

    def __call__(self, image: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
        """Images (B, K, H, W[, D]) to images with channels of 0; a single modality stays."""
        batch, count = image.shape[:2]
        if count == 1:
            return image
        stay = torch.randint(1, count, (batch, 1))
        rank = torch.rand((batch, count)).argsort(dim=1).argsort(dim=1)
        kept = (rank < stay) | (torch.rand((batch, 1)) >= self.prob)
        return image * kept.to(image).reshape(batch, count, *[1] * (image.ndim - 2))


class Augmentations:
    """Several in a row.

    Args:
        parts: called as ``part(image, foreground)``.
    """

    def __init__(self, parts: Sequence[Augmentation]) -> None:
        self.parts = list(parts)

    def __call__(self, image: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
        """Images (B, K, H, W[, D]) and foreground (B, 1, H, W[, D]) to changed images."""
        for part in self.parts:
            image = part(image, foreground)
        return image
