"""Evidence averaged over views of the slices: mirrored, turned and zoomed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from bundle.data.names import name_list
from bundle.equivariance import Warp


class AveragedViews(nn.Module):
    """A network that looks at every slice several times and averages what it finds, in the slice's own frame.

    The evidence is averaged, in logits and before anything is cut off or scaled, so that maps and the slice's logit are
    read from the same average. The slice as it is always counts. Where a view does not show a pixel (zoomed in), the
    others alone count.

    Args:
        network: image (B, K, H, W) to evidence (B, N * C, H, W), H = W.
        views: any of ``flip`` (left-right and up-down), ``rotate`` (three quarter turns) and zoom factors such as 0.9
            or 1.1; above 1 enlarges.

    Raises:
        ValueError: for another view, or a factor that is 1 or outside (0, 4].
    """

    def __init__(self, network: nn.Module, views: Sequence[Any] | str) -> None:
        super().__init__()
        self.network = network
        self.views = [view for name in name_list(views) for view in _views(name)]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Averaged evidence (B, N * C, H, W), in single precision at least."""
        total = _full_precision(self.network(image))
        seen: torch.Tensor | int = 1
        for turns, mirrored, zoom in self.views:
            warp = _warp(len(image), turns, mirrored, zoom)
            back = warp.inverse()
            evidence = _full_precision(self.network(warp.apply(image)))
            shown = back.field_of_view(evidence)
            total = total + back.apply(evidence) * shown
            seen = seen + shown
        return total / seen


def _views(name: str) -> list[tuple[int, bool, float]]:
    """Quarter turns, mirrored, zoom of each view that a name stands for."""
    if name == "flip":
        return [(0, True, 1.0), (2, True, 1.0)]
    if name == "rotate":
        return [(turns, False, 1.0) for turns in (1, 2, 3)]
    try:
        zoom = float(name)
    except ValueError:
        zoom = 0.0
    if not 0 < zoom <= 4 or zoom == 1:
        raise ValueError(f"average_views: expected flip, rotate or zoom factors such as 0.9, got {name!r}")
    return [(0, False, zoom)]


def _warp(batch: int, turns: int, mirrored: bool, zoom: float) -> Warp:
    matrix = None if zoom == 1 else np.tile(np.eye(2, 3) / zoom, (batch, 1, 1))
    return Warp(np.full(batch, turns), np.full(batch, mirrored), matrix)


def _full_precision(evidence: torch.Tensor) -> torch.Tensor:
    return evidence.float() if evidence.dtype in (torch.bfloat16, torch.float16) else evidence
