"""DeepLabv3 of one modality, ending in evidence maps."""

from __future__ import annotations

from typing import Any, cast

import torch
from monai.networks.nets.resnet import ResNet
from torch import nn
from torch.nn import functional as F

from bundle.networks.branch import CamBranch
from bundle.networks.imagenet import STANDARD_WIDTH, load_imagenet_weights

ATROUS_RATES = {8: (12, 24, 36), 16: (6, 12, 18)}  # Chen et al. (2017), section 4.1


class CamDeepLabV3(CamBranch):
    """DeepLabv3 on a dilated ResNet-50 whose last layer is a 1x1 convolution: upsampled, it is the evidence map.

    Source: Chen et al. (2017), as Patel and Dolz (2022), Table 4, use it: image-level pooling beside the atrous
    convolutions, evidence from their projection, bilinear to the size of the slice. The trunk is MONAI's ResNet
    with stride traded for dilation. Deviations: no multi-grid rates; the evidence has no bias (theirs has one),
    which would shift CAM but not Grad-CAM; the pooled branch has a bias instead of batch normalisation, since one
    value a channel has no variance (and a batch of one slice would fail).

    Args:
        in_channels: 1 for a branch of one modality, K for early fusion.
        head_channels: C, evidence maps: 1 (one logit map) or 2 (softmax over healthy and tumour).
        width: channels of the stem (standard: 64); all others are multiples of it, 4 times it in the pyramid.
        output_stride: sides of the slice over those of the features, 8 or 16; the pyramid's rates are
            12, 24, 36 or half of that.
        weights: file with torchvision's ``resnet50`` state dict, for the trunk; ``None`` starts from random.
            The stem's weights are averaged over RGB; see :func:`bundle.networks.load_imagenet_weights`.
        dropout: probability of dropping a feature map before the last layer (default: 0, as in `CamUNet`).

    Shape:
        (B, in_channels, H, W) to (B, head_channels, H, W); H and W at least 2 * output_stride.

    Raises:
        ValueError: for another output stride, a slice that is too small, or weights that do not fit.
        FileNotFoundError: if there is no such file.
    """

    def __init__(
        self,
        in_channels: int = 1,
        head_channels: int = 1,
        width: int = STANDARD_WIDTH,
        output_stride: int = 8,
        weights: str | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if output_stride not in ATROUS_RATES:
            raise ValueError(f"CamDeepLabV3 output_stride: expected 8 or 16, got {output_stride}")
        self.in_channels, self.output_stride = in_channels, output_stride
        self.trunk = _dilated_resnet50(in_channels, width, output_stride)
        self.pyramid = _AtrousPyramid(32 * width, 4 * width, ATROUS_RATES[output_stride])
        self.dropout = nn.Dropout2d(dropout)
        self.feature_channels = (32 * width, 4 * width)
        self.evidence = nn.Conv2d(4 * width, head_channels, kernel_size=1, bias=False)
        nn.init.xavier_normal_(self.evidence.weight)
        if weights is not None:
            load_imagenet_weights(self.trunk, weights, width)

    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        if min(image.shape[-2:]) < 2 * self.output_stride:
            raise ValueError(
                f"CamDeepLabV3: expected slices of at least {2 * self.output_stride} pixels a side (2 x output "
                f"stride), got {image.shape[-2]}x{image.shape[-1]}; prepare the data with a larger spatial_size"
            )
        trunk = self.trunk
        x = trunk.maxpool(trunk.act(trunk.bn1(trunk.conv1(image))))
        x = trunk.layer4(trunk.layer3(trunk.layer2(trunk.layer1(x))))
        return [x, self.dropout(self.pyramid(x))]


class _AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling with image-level features; MONAI's ``SimpleASPP`` has no such branch."""

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            [_convolution(inputs, outputs, 1), *(_convolution(inputs, outputs, 3, rate) for rate in rates)]
        )
        self.pooled = nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.ReLU(inplace=True))
        self.projection = _convolution((len(rates) + 2) * outputs, outputs, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [convolution(x) for convolution in self.convolutions]
        pooled = self.pooled(F.adaptive_avg_pool2d(x, 1))
        parts.append(pooled.expand_as(parts[0]))
        return self.projection(torch.cat(parts, dim=1))


def _convolution(inputs: int, outputs: int, kernel: int, rate: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=rate * (kernel // 2), dilation=rate, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _dilated_resnet50(in_channels: int, width: int, output_stride: int) -> ResNet:
    """MONAI's ResNet-50 with torchvision's names, whose last layers dilate instead of striding."""
    trunk = ResNet(
        "bottleneck",
        [3, 4, 6, 3],
        [width * factor for factor in (1, 2, 4, 8)],
        spatial_dims=2,
        n_input_channels=in_channels,
        conv1_t_stride=2,
        feed_forward=False,
        bias_downsample=False,
    )
    rate = 1
    for layer in (trunk.layer3, trunk.layer4) if output_stride == 8 else (trunk.layer4,):
        # the first block sees what the layer before saw, so it keeps that one's rate
        for number, block in enumerate(cast("Any", layer)):
            _dilate(cast("nn.Conv2d", block.conv2), rate if number == 0 else 2 * rate)
            if block.downsample is not None:
                cast("nn.Conv2d", block.downsample[0]).stride = (1, 1)
        rate *= 2
    return trunk


def _dilate(convolution: nn.Conv2d, rate: int) -> None:
    convolution.stride, convolution.dilation, convolution.padding = (1, 1), (rate, rate), (rate, rate)
