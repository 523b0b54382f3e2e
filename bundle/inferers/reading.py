"""From evidence to what is used: image-level logits and class activation maps."""

from __future__ import annotations

import torch

from bundle.networks import Readout
from bundle.pooling import Pooling


class CamReader:
    """Reads logits and class activation maps off the evidence; one object for training and inference.

    Args:
        readout: what the head channels mean.
        pooling: evidence to image-level logit.
        foreground_only: maps are 0 outside the foreground, and scaled by what lies inside; otherwise the whole
            slice counts (paper).
        epsilon: added to the range (published code: 1e-8).
    """

    def __init__(
        self, readout: Readout, pooling: Pooling, foreground_only: bool = True, epsilon: float = 1.0e-8
    ) -> None:
        self.readout, self.pooling = readout, pooling
        self.foreground_only, self.epsilon = foreground_only, epsilon

    def logits(self, evidence: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
        """Evidence (B, N * C, H, W) and foreground (B, 1, H, W) to the branches' log odds of tumour, (B, N)."""
        return self.readout.logits(self.pooling(evidence, foreground))

    def cams(self, evidence: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
        """Evidence (B, N * C, H, W) and foreground (B, 1, H, W) to maps in [0, 1], (B, N, H, W)."""
        return self.normalise(self.readout.maps(evidence), foreground)

    def normalise(self, maps: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
        """Negative evidence cut off, then min-max over each slice and branch: the paper's "max-normalised" CAM.

        ``relu(p - min p - e) / (max p - min p + e)`` with ``p = relu(map)``. Gradients go through maximum and
        minimum. A constant or wholly negative map gives 0.

        Args:
            maps: (B, N, H, W), in logits.
            foreground: 1 inside, (B, 1, H, W).

        Returns:
            Maps in [0, 1], (B, N, H, W).
        """
        positive = maps.relu()
        if not self.foreground_only:
            lowest = positive.amin(dim=(2, 3), keepdim=True)
            highest = positive.amax(dim=(2, 3), keepdim=True)
            return (positive - lowest - self.epsilon).relu() / (highest - lowest + self.epsilon)
        inside = foreground > 0.5
        highest = positive.masked_fill(~inside, 0.0).amax(dim=(2, 3), keepdim=True)
        lowest = torch.minimum(
            positive.masked_fill(~inside, torch.inf).amin(dim=(2, 3), keepdim=True), highest
        )
        return (positive - lowest - self.epsilon).relu() * inside / (highest - lowest + self.epsilon)
