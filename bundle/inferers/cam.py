"""CAM: the evidence itself is the map."""

from __future__ import annotations

import torch
from torch import nn

from bundle.inferers.volume import VolumeInferer


class CamInferer(VolumeInferer):
    """Class activation maps (Zhou et al. 2016) in one pass: the last 1x1 convolution gives them directly."""

    def read(
        self, image: torch.Tensor, network: nn.Module, foreground: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        evidence = self.evidence(image, network)
        return self.reader.cams(evidence, foreground), self.reader.logits(evidence, foreground)
