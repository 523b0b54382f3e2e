"""Eq. 8: every branch learns from all the others alike."""

from __future__ import annotations

import torch


def mean_over_teachers(pairs: torch.Tensor) -> torch.Tensor:
    """Sum over students of the mean over their teachers, 1 / (K - 1) in Patel and Dolz (2022), eq. 8.

    Args:
        pairs: cost of student k learning from teacher j, (N, N); the diagonal is ignored.

    Returns:
        A scalar; 0 for a single branch, which has no teacher.
    """
    count = pairs.shape[0]
    others = 1 - torch.eye(count, dtype=pairs.dtype, device=pairs.device)
    return (pairs * others).sum() / max(count - 1, 1)
