"""SEAM's ECR: each view's refined map is the other view's map."""

from __future__ import annotations

import torch
from torch import nn

from bundle.equivariance import Views
from bundle.losses.pixel_share import check_share, mean_of_share
from bundle.losses.refined_views import max_normalised, refined_of
from bundle.networks import PixelCorrelationReadout


class EquivariantCrossLoss(nn.Module):
    """Equivariant cross regularisation of SEAM (Wang et al. 2020, eq. 7) with online hard example mining.

    ``|M_pi - pi(R)| + |pi(M) - R_pi|`` with maps M detached and their refinement R, min-max normalised as M is
    (`max_normalised`), the mean over the slice's largest residuals, summed over branches. SEAM adds the residuals of a
    background channel, 1 - M and 1 - R; with one foreground class they are the same numbers twice, so the mean of the
    largest share stays and one channel suffices. Deviations: pixels outside the field of view are left out, and the
    plain view's R is normalised there, after the warp, where the published code does it before; so what left the view
    sets no scale, and interpolation flattens no peak. Gradients go to the refined maps of both views only.

    Args:
        readout: tells the refined maps from the evidence.
        share: of the pixels in view that count, the worst ones (SEAM: 0.2).
        positive_only: only slices tagged tumour count, as SEAM multiplies its maps by the labels.

    Raises:
        ValueError: for a share outside (0, 1], or (when called) views without evidence.
    """

    def __init__(
        self, readout: PixelCorrelationReadout, share: float = 0.2, positive_only: bool = True
    ) -> None:
        super().__init__()
        self.readout, self.positive_only = readout, positive_only
        self.share = check_share("EquivariantCrossLoss", share)

    def forward(self, views: Views, tags: torch.Tensor) -> torch.Tensor:
        """Tags, 1 tumour or 0 healthy, (B,); returns a scalar."""
        plain, warped = (
            max_normalised(refined, views.field_of_view) for refined in refined_of(views, self.readout)
        )
        per_slice = self._worst(views.warped_cams, plain, views) + self._worst(
            views.plain_cams, warped, views
        )
        if self.positive_only:
            per_slice = per_slice * tags.to(plain.dtype)
        return per_slice.mean()

    def _worst(self, cams: torch.Tensor, refined: torch.Tensor, views: Views) -> torch.Tensor:
        residual = (cams.detach() - refined).abs()
        return mean_of_share(residual, views.field_of_view, self.share, highest=True).sum(1)
