"""The tag of a whole volume: some slice of a positive one must show it, none of a negative one may."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from bundle.equivariance import Views
from bundle.pooling import SlicePooling

LOOKED_AT = 10  # batches; a sampler stays the same in a run, and each look waits for the GPU


class VolumeClassificationLoss(nn.Module):
    """Multiple-instance cross-entropy of volume tags: the mean over bags and both views, summed over branches.

    A bag holds slices of one volume. Positive: its slices' logits, pooled, must tell the tag, and each slice may be
    either. Negative: each slice is negative, as in :class:`bundle.losses.ClassificationLoss`, which this is where a bag
    is one slice. Gradients go to the pooled slices of positive bags, and to all of negative ones.

    Args:
        slices_per_bag: number of slices that lie side by side in the batch, as
            :class:`bundle.data.BagSampler` puts them.
        pooling: slices' logits to the bag's.
    """

    def __init__(self, slices_per_bag: int = 1, pooling: SlicePooling | None = None) -> None:
        super().__init__()
        self.slices_per_bag = slices_per_bag
        self.pooling = pooling or SlicePooling()
        self._looks = LOOKED_AT

    def forward(self, views: Views, tags: torch.Tensor) -> torch.Tensor:
        """Tags of the slices' volumes, 1 tumour somewhere or 0 healthy, (B,); returns a scalar.

        Raises:
            ValueError: if one of the first batches does not consist of whole bags.
        """
        count = self.slices_per_bag
        self._looks -= 1
        if len(tags) % count or (self._looks >= 0 and _mixed(tags.reshape(-1, count))):
            raise ValueError(
                f"VolumeClassificationLoss: expected bags of {count} slices of one volume side by side, got "
                f"{len(tags)} slices of other bags; set `training_sampler` to bundle.data.BagSampler with the same "
                "slices_per_bag"
            )
        positive = tags.reshape(-1, count)[:, :1] > 0.5
        per_view = [
            self._per_bag(logits.unflatten(0, (-1, count)), positive).mean(0).sum()
            for logits in (views.plain_logits, views.warped_logits)
        ]
        return 0.5 * (per_view[0] + per_view[1])

    def _per_bag(self, logits: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        """Cross-entropy (bags, N) of logits (bags, slices, N)."""
        return torch.where(positive, F.softplus(-self.pooling(logits)), F.softplus(logits).mean(dim=1))


def _mixed(bags: torch.Tensor) -> bool:
    """Whether the tags of a bag (bags, slices) differ; waits for the device."""
    return bool((bags != bags[:, :1]).any())
