"""SEAM's pixel correlation module around any branch: maps refined by what looks alike."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from bundle.networks.branch import CamBranch, bilinear_to
from bundle.networks.readout import Readout

SMALLEST_STRIDE = 4  # the affinity is quadratic in pixels


class PixelCorrelationBranch(CamBranch):
    """A branch and the pixel correlation module (PCM) of SEAM (Wang et al. 2020, section 3.3).

    On a grid of ``H / stride x W / stride`` pixels, a pixel's refined value is the mean of the map weighted by
    affinity: the cosine, cut off below 0, of features that are projected from the image and from all of the
    branch's features. Weights of a target sum to 1. The map is fed in after relu and division by its maximum.
    Deviations: one map instead of one a class and one for the background, which is 1 minus it here and refines
    to 1 minus its refinement; a grid of its own, where SEAM takes that of its backbone (stride 8).

    The map and all features are detached: the losses on the refined map train the projections only, as published.

    The affinity takes ``(H W / stride ** 2) ** 2 * 4`` bytes a slice and branch, in each view, kept until the
    backward pass: at 240 x 240 and batch 16, 829 MB for stride 4 and 52 MB for stride 8.

    Args:
        branch: what is refined.
        readout: what its head channels mean.
        channels: of each projected feature (SEAM: 64 and 128); the affinity's features have as many for each of
            the branch's features.
        stride: pixels of the slice to one of the grid, at least 4.

    Shape:
        (B, in_channels, H, W) to (B, C + 1, H, W): the branch's evidence, then the refined map in [0, 1].

    Raises:
        ValueError: for a stride below 4.
    """

    def __init__(self, branch: CamBranch, readout: Readout, channels: int = 64, stride: int = 4) -> None:
        super().__init__()
        if stride < SMALLEST_STRIDE:
            raise ValueError(
                f"PixelCorrelationBranch stride: expected at least {SMALLEST_STRIDE}, since the affinity grows with "
                f"the fourth power of the grid's side, got {stride}"
            )
        self.branch, self.readout, self.stride = branch, readout, stride
        self.in_channels, self.feature_channels = branch.in_channels, branch.feature_channels
        self.projections = nn.ModuleList(
            nn.Conv2d(inputs, channels, 1, bias=False) for inputs in branch.feature_channels
        )
        projected = channels * len(branch.feature_channels)
        self.embedding = nn.Conv2d(branch.in_channels + projected, projected, 1, bias=False)
        for weight in self.projections.parameters():
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        nn.init.xavier_normal_(self.embedding.weight)

    @property
    def evidence(self) -> nn.Conv2d:  # type: ignore[override]  # the wrapped branch's own layer
        """The 1x1 convolution of the wrapped branch."""
        return self.branch.evidence

    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        return self.branch.features(image)

    def to_evidence(self, feature: torch.Tensor, size: list[int]) -> torch.Tensor:
        """The branch's evidence and a refined map of 0: the features alone do not tell the affinity."""
        evidence = self.branch.to_evidence(feature, size)
        return torch.cat([evidence, torch.zeros_like(evidence[:, :1])], dim=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.branch.features(image)
        evidence = self.branch.to_evidence(features[-1], list(image.shape[-2:]))
        grid = [max(side // self.stride, 1) for side in image.shape[-2:]]
        cam = _at(self.readout.maps(evidence.detach()).relu(), grid)
        cam = cam / cam.amax(dim=(2, 3), keepdim=True).clamp(min=1e-5)
        refined = refine(cam.flatten(2), self._embed(image, features, grid).flatten(2)).unflatten(2, grid)
        refined = bilinear_to(refined, list(image.shape[-2:]))
        # not rounded to half precision: SEAM's terms stretch its narrow range to [0, 1]
        return torch.cat([evidence.to(refined.dtype), refined], dim=1)

    def _embed(self, image: torch.Tensor, features: list[torch.Tensor], grid: list[int]) -> torch.Tensor:
        """What pixels of the grid are compared by, (B, F, h, w)."""
        projected = [
            F.relu(projection(_at(feature.detach(), grid)))
            for projection, feature in zip(self.projections, features, strict=True)
        ]
        return self.embedding(torch.cat([_at(image, grid).to(projected[0].dtype), *projected], dim=1))


def refine(maps: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Each pixel's mean of the maps over all pixels, weighted by how alike their features are.

    Computed in single precision at least, whatever the context. A pixel without features (all 0) keeps its value.

    Args:
        maps: (B, M, P), P pixels.
        features: (B, F, P).

    Returns:
        (B, M, P), within the range of each map. Gradients go to features and maps.
    """
    with torch.autocast(features.device.type, enabled=False):
        if features.dtype in (torch.bfloat16, torch.float16):
            features = features.float()
        maps = maps.to(features.dtype)
        unit = F.normalize(features, dim=1)
        affinity = (unit.transpose(1, 2) @ unit).relu()  # [b, source, target]
        # Dividing afterwards spares a second affinity, of normalised weights, in memory.
        total = affinity.sum(1, keepdim=True)
        alone = total <= 0
        return torch.where(alone, maps, maps @ affinity / torch.where(alone, 1.0, total))


def _at(maps: torch.Tensor, grid: list[int]) -> torch.Tensor:
    """Maps on the grid: averaged where they are finer, interpolated where they are coarser."""
    finer = maps.shape[-2] >= grid[0] and maps.shape[-1] >= grid[1]
    return F.adaptive_avg_pool2d(maps, (grid[0], grid[1])) if finer else bilinear_to(maps, grid)


class PixelCorrelationReadout(Readout):
    """Reads the evidence of branches that :class:`PixelCorrelationBranch` wraps: C head channels, then one refined map.

    Args:
        readout: what the C head channels mean.

    Raises:
        ValueError: if the evidence has no multiple of C + 1 channels.
    """

    def __init__(self, readout: Readout) -> None:
        super().__init__(readout.head_channels, readout.tumour_channel_only)

    def maps(self, evidence: torch.Tensor) -> torch.Tensor:
        """Evidence (B, N * (C + 1), H, W), or pooled without H and W, to a map or score a branch, (B, N, ...)."""
        return super().maps(self._of_branches(evidence)[:, :, :-1].flatten(1, 2))

    def logits(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled evidence (B, N * (C + 1)) to the log odds of "tumour in this slice" of each branch, (B, N)."""
        return super().logits(self._of_branches(pooled)[:, :, :-1].flatten(1, 2))

    def refined(self, evidence: torch.Tensor) -> torch.Tensor:
        """Evidence (B, N * (C + 1), H, W) to the refined maps in [0, 1], (B, N, H, W)."""
        return self._of_branches(evidence)[:, :, -1]

    def _of_branches(self, tensor: torch.Tensor) -> torch.Tensor:
        channels = self.head_channels + 1
        if tensor.shape[1] % channels:
            raise ValueError(
                f"PixelCorrelationReadout: expected {channels} channels a branch ({self.head_channels} of the head and "
                f"a refined map), got {tensor.shape[1]} in all; wrap the branches in PixelCorrelationBranch, or "
                f"read them by Readout"
            )
        return tensor.unflatten(1, (-1, channels))
