"""The refined maps of both views, as the terms of SEAM compare them."""

from __future__ import annotations

import torch

from bundle.equivariance import Views
from bundle.networks import PixelCorrelationReadout


def refined_of(views: Views, readout: PixelCorrelationReadout) -> tuple[torch.Tensor, torch.Tensor]:
    """The plain view's refined maps, then warped, and the warped view's, each (B, N, H, W).

    Raises:
        ValueError: if the views carry no evidence.
    """
    if views.evidence is None:
        raise ValueError(
            "views: expected the evidence that the refined maps stand in, got None; take them from TwoViewInferer"
        )
    plain = views.evidence.warp.apply(readout.refined(views.evidence.plain))
    return plain, readout.refined(views.evidence.warped)


def max_normalised(
    refined: torch.Tensor, field_of_view: torch.Tensor, epsilon: float = 1.0e-5
) -> torch.Tensor:
    """Refined maps stretched over [0, 1] inside the field of view: the "max norm" of SEAM's published code.

    ``relu(p - min p - e) / (max p - min p + e)``, a slice and branch at a time. A refined map is a weighted mean, so
    it never reaches the range of the normalised map it is compared with. Gradients go through maximum and minimum.

    Args:
        refined: in [0, 1], (B, N, H, W).
        field_of_view: 1 where a pixel counts, (B, 1, H, W).
        epsilon: e (published code: 1e-5).

    Returns:
        (B, N, H, W); 0 out of view, and for a constant map.
    """
    inside = field_of_view > 0.5
    highest = refined.masked_fill(~inside, 0.0).amax(dim=(2, 3), keepdim=True)
    lowest = refined.masked_fill(~inside, torch.inf).amin(dim=(2, 3), keepdim=True)
    lowest = torch.minimum(lowest, highest)  # a slice wholly out of view has none
    return (refined - lowest - epsilon).relu() * inside / (highest - lowest + epsilon)
