"""The refined map of a pixel correlation module instead of the evidence's own."""

from __future__ import annotations

import torch
from torch import nn

from bundle.inferers.volume import VolumeInferer
from bundle.networks import PixelCorrelationReadout


class RefinedCamInferer(VolumeInferer):
    """Maps refined by SEAM's pixel correlation module (Wang et al. 2020), inside the foreground and min-max normalised.

    The logits are those of the evidence, as for :class:`bundle.inferers.CamInferer`.
    """

    def read(
        self, image: torch.Tensor, network: nn.Module, foreground: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        readout = self.reader.readout
        if not isinstance(readout, PixelCorrelationReadout):
            raise ValueError(
                f"RefinedCamInferer: expected a reader whose readout is a PixelCorrelationReadout, got "
                f"{type(readout).__name__}; merge configs/method_seam.yaml, or use CamInferer"
            )
        evidence = self.evidence(image, network)
        maps = self.reader.normalise(readout.refined(evidence), foreground)
        return maps, self.reader.logits(evidence, foreground)
