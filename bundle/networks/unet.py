"""The U-Net of one modality, ending in evidence maps."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from bundle.networks.branch import CamBranch


class CamUNet(CamBranch):
    """U-Net whose last layer is a 1x1 convolution without bias: its output is the evidence map.

    Source: Patel and Dolz (2022), section 4.3, with the layers of their published code: ``levels`` poolings, the
    deepest one without doubling the channels, nearest-neighbour upsampling, Xavier-normal weights. Width 64 and
    3 levels are the paper's (3,398,144 parameters). MONAI's ``BasicUNet`` fixes four levels and cannot express it.

    Args:
        in_channels: 1 for a branch of one modality, K for early fusion.
        head_channels: C, evidence maps: 1 (ours: one logit map) or 2 (paper: softmax over healthy and tumour).
        width: channels of the first level (paper: 64).
        levels: number of poolings; each doubles the receptive field (paper: 3). 0: three 3x3 convolutions alone, which
            see 7 x 7 pixels.
        dropout: probability of dropping a feature map before the last layer (paper: 0).
        intensity: the image itself and a constant are the last features, after the others, so that evidence may be a
            threshold on intensities (:func:`bundle.handlers.start_from_intensity`). Their weights start at 0.

    Shape:
        (B, in_channels, H, W) to (B, head_channels, H, W); H and W must be divisible by 2 ** levels.
    """

    def __init__(
        self,
        in_channels: int = 1,
        head_channels: int = 1,
        width: int = 64,
        levels: int = 3,
        dropout: float = 0.0,
        intensity: bool = False,
    ) -> None:
        super().__init__()
        if levels < 0:
            raise ValueError(f"CamUNet levels: expected 0 poolings or more, got {levels}")
        channels = [width * 2**level for level in range(levels)] + [width * 2 ** max(levels - 1, 0)]
        self.levels, self.divisor, self.in_channels = levels, 2**levels, in_channels
        self.encoder = nn.ModuleList([_double_convolution(in_channels, width)])
        self.encoder.extend(_double_convolution(a, b) for a, b in pairwise(channels))
        self.decoder = nn.ModuleList()
        found = [channels[-1]]
        for level in reversed(range(levels)):
            out = channels[max(level - 1, 0)]
            self.decoder.append(_double_convolution(found[-1] + channels[level], out))
            found.append(out)
        self.intensity = intensity
        given = in_channels + 1 if intensity else 0
        self.feature_channels = (*found[:-1], found[-1] + given)
        self.head = nn.Sequential(*_convolution(width, width), nn.Dropout2d(dropout))
        self.evidence = nn.Conv2d(width + given, head_channels, kernel_size=1, bias=False)
        self.apply(_initialise)
        if intensity:
            nn.init.zeros_(self.evidence.weight[:, width:])

    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        if image.shape[-1] % self.divisor != 0 or image.shape[-2] % self.divisor != 0:
            raise ValueError(
                f"CamUNet: expected slices whose sides are divisible by {self.divisor} ({self.levels} levels), got "
                f"{image.shape[-2]}x{image.shape[-1]}; prepare the data with such a spatial_size or lower `levels`"
            )
        x, skips = image, []
        for level, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if level > 0 else x)
            skips.append(x)
        found = [skips.pop()]
        for block in self.decoder:
            x = block(torch.cat([skips.pop(), F.interpolate(x, scale_factor=2.0, mode="nearest")], dim=1))
            found.append(x)
        found[-1] = self.head(x)
        if self.intensity:
            found[-1] = torch.cat([found[-1], image, torch.ones_like(image[:, :1])], dim=1)
        return found


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(inputs, outputs), *_convolution(outputs, outputs))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
