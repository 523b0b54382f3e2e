"""Logits of a volume's slices to the volume's logit: multiple-instance pooling."""

from __future__ import annotations

import math

import torch


class SlicePooling:
    """Mean of the highest share of the slices' logits, branch by branch.

    A volume is positive if some of its slices are. The maximum alone would learn from one slice a step and rest on the
    luckiest; a share, rounded up, learns from all of them. Gradients go to those slices.

    Args:
        share: of the slices, from 0 (the maximum alone) to 1 (their mean). About what the smallest lesion spans.
    """

    def __init__(self, share: float = 0.1) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"slice_pooling share: expected a share from 0 to 1, got {share}; correct it")
        self.share = float(share)

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """(…, S, N) to (…, N)."""
        count = max(1, math.ceil(self.share * logits.shape[-2]))
        return logits.topk(count, dim=-2).values.mean(dim=-2)
