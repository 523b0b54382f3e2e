"""Eq. 2: within a modality, the map of the warped slice is the warped map of the slice."""

from __future__ import annotations

import torch
from torch import nn

from bundle.equivariance import Views
from bundle.losses.reduction import check_reduction


class EquivarianceLoss(nn.Module):
    """Equivariance regularisation, L_ER in Patel and Dolz (2022), eq. 2: ``(pi(M) - M_pi)^2``, summed over branches.

    Deviation: pixels outside the field of view are left out (the paper counts their zeros). Gradients go through
    both views.

    Args:
        reduction: over pixels, ``"mean"`` (published code, ours) or ``"sum"`` (the norm as printed); over the
            batch always the mean, healthy slices included.
        positive_only: only slices tagged tumour count (published code, ours); their share scales the term.
    """

    def __init__(self, reduction: str = "mean", positive_only: bool = True) -> None:
        super().__init__()
        self.reduction, self.positive_only = check_reduction("EquivarianceLoss", reduction), positive_only

    def forward(self, views: Views, tags: torch.Tensor) -> torch.Tensor:
        """Tags, 1 tumour or 0 healthy, (B,); returns a scalar."""
        inside = views.field_of_view
        squared = (views.plain_cams - views.warped_cams).square() * inside
        per_slice = squared.sum(dim=(1, 2, 3))
        if self.reduction == "mean":
            per_slice = per_slice / inside.sum(dim=(1, 2, 3)).clamp(min=1)
        if self.positive_only:
            per_slice = per_slice * tags.to(per_slice.dtype)
        return per_slice.mean()
