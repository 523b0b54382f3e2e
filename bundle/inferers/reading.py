"""From evidence to what is used: image-level logits and class activation maps."""

from __future__ import annotations

import torch

from bundle.data import nearest_name
from bundle.networks import Readout
from bundle.pooling import Pooling

SCALES = ("slice", "probability")


class CamReader:
    """Reads logits and class activation maps off the evidence; one object for training and inference.

    Args:
        readout: what the head channels mean.
        pooling: evidence to image-level logit.
        foreground_only: maps are 0 outside the foreground, and scaled by what lies inside; otherwise the whole
            slice counts (paper).
        epsilon: added to the range (published code: 1e-8).
        scale: ``slice``: each map by its own minimum and maximum (paper), which shows something in every slice;
            ``probability``: the sigmoid of the evidence, whose decision boundary is 0.5 in all slices alike.

    Raises:
        ValueError: for another scale.
    """

    def __init__(
        self,
        readout: Readout,
        pooling: Pooling,
        foreground_only: bool = True,
        epsilon: float = 1.0e-8,
        scale: str = "slice",
    ) -> None:
        if scale not in SCALES:
            raise ValueError(f"cam_reader scale: {scale!r} is unknown; {nearest_name(scale, SCALES)}")
        self.readout, self.pooling, self.scale = readout, pooling, scale
        self.foreground_only, self.epsilon = foreground_only, epsilon

    def logits(
        self, evidence: torch.Tensor, foreground: torch.Tensor, field_of_view: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The branches' log odds of tumour, (B, N).

        Args:
            evidence: (B, N * C, H, W).
            foreground: 1 inside, (B, 1, H, W).
            field_of_view: 1 where a warped slice shows something, (B, 1, H, W); ``None`` for all of it.
        """
        return self.readout.logits(self.pooling(evidence, foreground, field_of_view))

    def scores(
        self, evidence: torch.Tensor, foreground: torch.Tensor, field_of_view: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What the maps themselves say of each slice, (B, N): the maps' channels pooled, and so what Grad-CAM explains.

        It is the logit, unless the tumour channel alone is the map: then it is that channel's value, without the
        healthy one's. Arguments as `logits`; gradients go to the evidence.
        """
        return self.readout.maps(self.pooling(evidence, foreground, field_of_view))

    def cams(
        self, evidence: torch.Tensor, foreground: torch.Tensor, field_of_view: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Class activation maps in [0, 1], (B, N, H, W); arguments as `logits`."""
        maps = self.readout.maps(evidence)
        if self.scale == "probability":
            return maps.sigmoid() * self._inside(foreground, field_of_view)
        return self.normalise(maps, foreground, field_of_view)

    def normalise(
        self, maps: torch.Tensor, foreground: torch.Tensor, field_of_view: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Negative evidence cut off, then min-max over each slice and branch: the paper's "max-normalised" CAM.

        ``relu(p - min p - e) / (max p - min p + e)`` with ``p = relu(map)``. Gradients go through maximum and
        minimum. A constant or wholly negative map gives 0. Maps that are no evidence (Grad-CAM's, refined ones) have
        no boundary of their own and come this way whatever the `scale`.

        Args:
            maps: (B, N, H, W), in logits.
            foreground: 1 inside, (B, 1, H, W).
            field_of_view: see `logits`; the map is 0 elsewhere, and scaled by what lies inside.

        Returns:
            Maps in [0, 1], (B, N, H, W).
        """
        inside = self._inside(foreground, field_of_view)
        positive = maps.relu()
        highest = positive.masked_fill(~inside, 0.0).amax(dim=(2, 3), keepdim=True)
        lowest = torch.minimum(
            positive.masked_fill(~inside, torch.inf).amin(dim=(2, 3), keepdim=True), highest
        )
        return (positive - lowest - self.epsilon).relu() * inside / (highest - lowest + self.epsilon)

    def _inside(self, foreground: torch.Tensor, field_of_view: torch.Tensor | None) -> torch.Tensor:
        """Where maps may be above 0, bool (B, 1, H, W)."""
        inside = foreground > 0.5 if self.foreground_only else torch.ones_like(foreground, dtype=torch.bool)
        return inside if field_of_view is None else inside & (field_of_view > 0.5)
