"""Eq. 5: both views must tell the tag."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from bundle.equivariance import Views


class ClassificationLoss(nn.Module):
    """Cross-entropy of the tags, L_C in Patel and Dolz (2022), eq. 5: the mean of both views, summed over branches.

    For the softmax head the two-class cross-entropy is the binary one of the logits' difference, so one formula
    serves both heads. Gradients go to every branch, through both views.
    """

    def forward(self, views: Views, tags: torch.Tensor) -> torch.Tensor:
        """Tags, 1 tumour or 0 healthy, (B,); returns a scalar."""
        target = tags.to(views.plain_logits.dtype)[:, None].expand_as(views.plain_logits)
        per_view = [
            F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(0).sum()
            for logits in (views.plain_logits, views.warped_logits)
        ]
        return 0.5 * (per_view[0] + per_view[1])
