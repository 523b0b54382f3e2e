"""Eq. 8: every branch learns from all the others, alike or by how far each is trusted."""

from __future__ import annotations

import torch


def mean_over_teachers(
    pairs: torch.Tensor, trust: torch.Tensor | None = None, own_trust: bool = False
) -> torch.Tensor:
    """Sum over students of the mean over their teachers, 1 / (K - 1) in Patel and Dolz (2022), eq. 8.

    Args:
        pairs: cost of student k learning from teacher j, (N, N); the diagonal is ignored.
        trust: of each teacher, from 0 up, (N,): the mean is weighted by it. A student whose other branches all
            have 0 learns from none. ``None``: all alike (paper).
        own_trust: a student's own trust counts beside its teachers': each weighs its trust over the mean of all
            branches', so that who knows more than its teachers learns less from them, and who knows less more (up to
            K / (K - 1) of the whole). With two branches the mean over teachers has but one, whose trust would not
            matter otherwise.

    Returns:
        A scalar; 0 for a single branch, which has no teacher.
    """
    count = pairs.shape[0]
    others = 1 - torch.eye(count, dtype=pairs.dtype, device=pairs.device)
    if trust is None:
        return (pairs * others).sum() / max(count - 1, 1)
    trust = trust.detach().to(pairs)
    weights = others * trust
    total = (count - 1) * trust.mean() if own_trust else weights.sum(1, keepdim=True)
    return (pairs * weights / total.clamp(min=1e-12)).sum()
