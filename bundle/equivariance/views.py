"""What one training step shows the losses: every branch's reading of both views."""

from __future__ import annotations

from dataclasses import dataclass

import torch


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
    """

    plain_logits: torch.Tensor
    warped_logits: torch.Tensor
    plain_cams: torch.Tensor
    warped_cams: torch.Tensor
    field_of_view: torch.Tensor
