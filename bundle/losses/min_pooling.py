"""SEAM's adaptive min pooling: no refined map covers the whole slice."""

from __future__ import annotations

import torch
from torch import nn

from bundle.equivariance import Views
from bundle.losses.pixel_share import check_share, mean_of_share
from bundle.losses.refined_views import refined_of
from bundle.networks import PixelCorrelationReadout


class AdaptiveMinPoolingLoss(nn.Module):
    """Adaptive min pooling of SEAM's published code: the lowest quarter of the refined map is pushed to 0.

    The mean of a tagged-positive slice's lowest refined values, the mean of both views, summed over branches; healthy
    slices cost nothing but count in the mean. Deviation: both views are taken inside the field of view, as in
    every other term. Gradients go to the refined maps of both views.

    As published, the term is not restricted to the foreground, and takes the refined map as it is, not normalised. In
    slices with much empty background the lowest quarter mostly lies there, where the map soon is near 0 anyway, so
    the term then does little.

    Args:
        readout: tells the refined maps from the evidence.
        share: of the pixels in view that are pushed down (published code: 0.25).

    Raises:
        ValueError: for a share outside (0, 1], or (when called) views without evidence.
    """

    def __init__(self, readout: PixelCorrelationReadout, share: float = 0.25) -> None:
        super().__init__()
        self.readout, self.share = readout, check_share("AdaptiveMinPoolingLoss", share)

    def forward(self, views: Views, tags: torch.Tensor) -> torch.Tensor:
        """Tags, 1 tumour or 0 healthy, (B,); returns a scalar."""
        per_view = [
            mean_of_share(refined, views.field_of_view, self.share, highest=False).sum(1)
            for refined in refined_of(views, self.readout)
        ]
        per_slice = 0.5 * (per_view[0] + per_view[1])
        return (per_slice * tags.to(per_slice.dtype)).mean()
