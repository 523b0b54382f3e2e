"""What a branch offers, whatever its backbone: features, and the linear way from the last of them to evidence."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F


class CamBranch(nn.Module):
    """One network that ends in evidence maps; the ensemble, the inferers and the pixel correlation build on it.

    Behind the last features there is nothing but a 1x1 convolution without bias and a linear resampling, which
    commute. So CAM equals Grad-CAM of what is pooled from the same map, for every branch, up to a factor that
    normalisation removes.

    Attributes:
        evidence: the 1x1 convolution, from features to C head channels.
        in_channels: channels of the image.
        feature_channels: channels of each entry of `features`.

    Shape:
        (B, in_channels, H, W) to (B, C, H, W).
    """

    if TYPE_CHECKING:  # TorchScript can't read annotations that are text
        evidence: nn.Conv2d
        in_channels: int
        feature_channels: tuple[int, ...]

    @abstractmethod
    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps (B, F, h, w), coarse to fine; the last is what `evidence` receives, the others lie deeper."""

    def to_evidence(self, feature: torch.Tensor, size: list[int]) -> torch.Tensor:
        """The last feature maps to evidence (B, C, H, W) of the slice's ``size``, H and W."""
        return bilinear_to(self.evidence(feature), size)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.to_evidence(self.features(image)[-1], list(image.shape[-2:]))


def bilinear_to(maps: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Maps (B, C, h, w) at ``size``, H and W; as they are if they have it."""
    if list(maps.shape[-2:]) == list(size):
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
