"""Each pixel's own probability, for networks trained on masks."""

from __future__ import annotations

import torch
from torch import nn

from bundle.inferers.volume import VolumeInferer


class ProbabilityInferer(VolumeInferer):
    """The sigmoid of each pixel's log odds is the map: nothing is scaled by the slice's extremes.

    For full supervision, whose evidence is a segmentation; use it with ``gate: none``. Outside the foreground
    the map is 0 where the reader keeps to the foreground.
    """

    shown = "probability"

    def read(
        self, image: torch.Tensor, network: nn.Module, foreground: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        evidence = self.evidence(image, network)
        maps = self.reader.readout.logits(evidence).sigmoid()
        if self.reader.foreground_only:
            maps = maps * (foreground > 0.5)
        return maps, self.reader.logits(evidence, foreground)
