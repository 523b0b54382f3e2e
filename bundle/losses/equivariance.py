"""Eq. 2: within a modality, the map of the warped slice is the warped map of the slice."""

from __future__ import annotations

import torch
from torch import nn

from bundle.equivariance import Views
from bundle.losses.reduction import check_reduction

NORMS = {"l2": torch.square, "l1": torch.abs}


class EquivarianceLoss(nn.Module):
    """Equivariance regularisation, L_ER in Patel and Dolz (2022), eq. 2: ``(pi(M) - M_pi)^2``, summed over branches.

    Deviation: pixels outside the field of view are left out (the paper counts their zeros). Gradients go through
    both views.

    Args:
        reduction: over pixels, ``"mean"`` (published code, ours) or ``"sum"`` (the norm as printed); over the
            batch always the mean, healthy slices included.
        positive_only: only slices tagged tumour count (published code, ours); their share scales the term.
        norm: of a pixel's difference, ``"l2"`` squared (paper) or ``"l1"`` absolute (SEAM, Wang et al. 2020, eq. 6).

    Raises:
        ValueError: for another reduction or norm.
    """

    def __init__(self, reduction: str = "mean", positive_only: bool = True, norm: str = "l2") -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"EquivarianceLoss norm: expected one of {', '.join(NORMS)}, got {norm!r}")
        self.reduction, self.positive_only = check_reduction("EquivarianceLoss", reduction), positive_only
        self.norm = norm

    def forward(self, views: Views, tags: torch.Tensor) -> torch.Tensor:
        """Tags, 1 tumour or 0 healthy, (B,); returns a scalar."""
        inside = views.field_of_view
        per_pixel = NORMS[self.norm](views.plain_cams - views.warped_cams) * inside
        per_slice = per_pixel.sum(dim=(1, 2, 3))
        if self.reduction == "mean":
            per_slice = per_slice / inside.sum(dim=(1, 2, 3)).clamp(min=1)
        if self.positive_only:
            per_slice = per_slice * tags.to(per_slice.dtype)
        return per_slice.mean()
