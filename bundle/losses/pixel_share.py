"""The mean of a slice's highest or lowest pixels."""

from __future__ import annotations

import torch


def mean_of_share(values: torch.Tensor, inside: torch.Tensor, share: float, highest: bool) -> torch.Tensor:
    """Mean of the highest, or lowest, ``share`` of each map's pixels.

    Args:
        values: (B, N, H, W).
        inside: 1 where a pixel counts, (B, 1, H, W).
        share: of the pixels that count, in (0, 1]; rounded down, but at least one pixel.
        highest: the highest pixels, otherwise the lowest.

    Returns:
        (B, N); 0 where no pixel counts. Gradients go to the chosen pixels.
    """
    counts = inside > 0.5
    chosen = (counts.sum(dim=(1, 2, 3)) * share).int().clamp(min=1)[:, None, None]
    outside = -torch.inf if highest else torch.inf
    ordered = values.masked_fill(~counts, outside).flatten(2).sort(dim=-1, descending=highest).values
    rank = torch.arange(ordered.shape[-1], device=values.device)
    taken = (rank < chosen) & ordered.isfinite()
    return torch.where(taken, ordered, 0.0).sum(-1) / chosen[..., 0]


def check_share(owner: str, share: float) -> float:
    """Return ``share`` if it lies in (0, 1]; raise ``ValueError`` otherwise."""
    if not 0 < share <= 1:
        raise ValueError(f"{owner} share: expected a share of the pixels in (0, 1], got {share}")
    return float(share)
