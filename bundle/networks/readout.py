"""The one place that knows what the C head channels mean."""

from __future__ import annotations

import torch


class Readout:
    """Reduces the head channels of each branch to one map, and their pooled values to one logit.

    A softmax over two channels supervises only their difference, so the difference is the map by default; the
    paper reads the tumour channel alone, which is under-determined. The logit is the difference in either case:
    its sigmoid equals the softmax probability of the tumour class.

    Args:
        head_channels: C, 1 or 2 (healthy, tumour).
        tumour_channel_only: for C = 2, take the tumour channel as the map (paper).

    Raises:
        ValueError: for another number of channels, or evidence whose channels are no multiple of it.
    """

    def __init__(self, head_channels: int = 1, tumour_channel_only: bool = False) -> None:
        if head_channels not in (1, 2):
            raise ValueError(f"Readout head_channels: expected 1 (logit) or 2 (softmax), got {head_channels}")
        self.head_channels, self.tumour_channel_only = head_channels, tumour_channel_only

    def maps(self, evidence: torch.Tensor) -> torch.Tensor:
        """Evidence (B, N * C, H, W), or pooled without H and W, to a map or score a branch, (B, N, ...), in logits."""
        if self.head_channels == 1:
            return evidence
        self._check(evidence)
        return evidence[:, 1::2] if self.tumour_channel_only else evidence[:, 1::2] - evidence[:, 0::2]

    def logits(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled evidence (B, N * C) to the log odds of "tumour in this slice" of each branch, (B, N)."""
        if self.head_channels == 1:
            return pooled
        self._check(pooled)
        return pooled[:, 1::2] - pooled[:, 0::2]

    def _check(self, tensor: torch.Tensor) -> None:
        if tensor.shape[1] % 2:
            raise ValueError(
                f"Readout: expected two channels a branch, got {tensor.shape[1]}; check head_channels"
            )
