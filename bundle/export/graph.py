"""What is exported: a network and everything that inference does with a slice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bundle.inferers import FuseMapsd, GradCamInferer, PatchProbabilityInferer, VolumeInferer
from bundle.networks import trust_of


class FusedMapGraph(nn.Module):
    """Network, reader, gate and fusion of an inference config as one module, by the inferer's and fusion's own code.

    What needs more than a slice stays outside: intensities normalised by the volume before it; the scan's own grid,
    smoothing across slices, refinement and thresholds behind it. All modalities count as present: of a network a
    modality, leave out none; one network for all takes a missing one's channel as 0, where its training dropped some.

    Args:
        network: image (B, K, H, W) to evidence (B, N * C, H, W), with its weights; put into evaluation mode.
        inferer: of the config, in ``precision: float32``.
        fusion: rule of :class:`bundle.inferers.FuseMapsd`.
        modalities: names of the K channels, in order.

    Shape:
        normalised image (B, K, H, W) and foreground (B, 1, H, W), 1 inside, to gated maps (B, N, H, W) of branches
        and the fused map (B, 1, H, W); all in [0, 1].

    Raises:
        ValueError: the inferer differentiates (Grad-CAM), reads patches, averages over views, or has another precision.
    """

    def __init__(
        self, network: nn.Module, inferer: VolumeInferer, fusion: str, modalities: Sequence[str]
    ) -> None:
        super().__init__()
        if isinstance(inferer, GradCamInferer | PatchProbabilityInferer):
            raise ValueError(
                f"export: expected an inferer that reads maps off the network's output for a slice, got "
                f"{type(inferer).__name__}, which differentiates or needs a volume; of a network of slices set "
                f"method to bundle.inferers.CamInferer (behind a 1x1 convolution Grad-CAM is CAM)"
            )
        if inferer.average_views:
            raise ValueError(
                f"export: expected no average_views, got {inferer.average_views}, whose warps fix the batch size; "
                f"set average_views to [] and average in your program"
            )
        if inferer.precision != "float32":
            raise ValueError(f"export: expected precision float32, got {inferer.precision!r}; set it to that")
        self.network, self.inferer, self.modalities = network, inferer, tuple(modalities)
        self.fuse = FuseMapsd(rule=fusion).rule
        self.eval()

    def forward(self, image: torch.Tensor, foreground: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps, _ = self.inferer.slices(image, self.network, foreground)
        by_branch = maps.transpose(0, 1)
        trust = trust_of(self.network)
        fused = self.fuse(by_branch, maps.new_ones(len(by_branch)) if trust is None else trust)
        return maps, fused[:, None]
