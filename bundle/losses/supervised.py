"""Full supervision, the upper bound: Dice and cross-entropy with the masks."""

from __future__ import annotations

import torch
from monai.losses import DiceCELoss
from torch import nn

from bundle.equivariance import Views
from bundle.networks import Readout


class SupervisedLoss(nn.Module):
    """Dice plus cross-entropy of the plain view's pixels (Patel and Dolz 2022, section 4.4), summed over branches.

    MONAI's ``DiceCELoss`` on each branch; Dice is pooled over the batch, since many slices hold no tumour. The only
    term that learns from masks: ``label`` must be one, as :class:`bundle.data.MaskSliceDataset` gives it. Gradients
    go to every branch.

    Args:
        readout: evidence to log odds, pixel by pixel (the logits' difference for a softmax head).
    """

    learns_from_masks = True

    def __init__(self, readout: Readout) -> None:
        super().__init__()
        self.readout = readout
        self.loss = DiceCELoss(sigmoid=True, batch=True)

    def forward(self, views: Views, masks: torch.Tensor) -> torch.Tensor:
        """Masks, 1 inside, (B, 1, H, W); returns a scalar."""
        if views.evidence is None or masks.ndim != 4:
            raise ValueError(
                f"SupervisedLoss: expected masks (B, 1, H, W), got {tuple(masks.shape)}; set `training_slices` to "
                f"bundle.data.MaskSliceDataset, as configs/method_supervised.yaml does"
            )
        logits = self.readout.logits(views.evidence.plain)
        target = masks.to(logits.dtype)
        return torch.stack([self.loss(branch, target) for branch in logits.split(1, dim=1)]).sum()
