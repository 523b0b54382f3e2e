"""What one training step shows the losses: every branch's reading of both views."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bundle.equivariance.warp import Warp


@dataclass(frozen=True)
class Evidence:
    """The network's raw output for both views, for terms that look beneath the maps.

    Args:
        plain: of the plain view, not warped, (B, N * C, H, W).
        warped: of the warped view, (B, N * C, H, W).
        warp: pi, which brings a map of the plain view onto the warped one.
    """

    plain: torch.Tensor
    warped: torch.Tensor
    warp: Warp


@dataclass(frozen=True)
class Views:
    """The plain and the warped view of a batch, as N branches read them.

    Args:
        plain_logits: log odds of "tumour in this slice" from the plain view, (B, N).
        warped_logits: the same from the warped view, (B, N).
        plain_cams: class activation maps of the plain view, then warped: pi(M), in [0, 1], (B, N, H, W).
        warped_cams: class activation maps of the warped view, M of pi(x), in [0, 1], (B, N, H, W).
        field_of_view: 1 where the warped view shows what the plain view showed, (B, 1, H, W); no loss counts
            the other pixels.
        evidence: what the maps were read from; ``None`` where no term asks for it (in tests).
        trust: how far each branch is trusted as a teacher, from 0 up, (N,); ``None``: all alike.
    """

    plain_logits: torch.Tensor
    warped_logits: torch.Tensor
    plain_cams: torch.Tensor
    warped_cams: torch.Tensor
    field_of_view: torch.Tensor
    evidence: Evidence | None = None
    trust: torch.Tensor | None = None
