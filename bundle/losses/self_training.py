"""Self-training: a segmenter learns from masks that an earlier stage drew."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from bundle.equivariance import Views
from bundle.networks import UNSEEN, Readout


class SelfTrainingLoss(nn.Module):
    """Cross-entropy plus Dice with pseudo masks, over the pixels whose label is known, mean of the views seen.

    The warped view's labels are the plain ones, warped by the same pi, so a geometric augmentation needs nothing
    else. Cross-entropy is the generalised one, ``(1 - p^q) / q`` of the labelled class's probability p (Zhang and
    Sabuncu 2018, eq. 6): for ``q`` towards 0 the usual one, for 1 the absolute error, which wrong labels hardly
    pull. Dice is pooled over the batch, since many slices hold no tumour. Gradients go to every branch; where one
    has not looked (evidence of minus infinity, :data:`bundle.networks.UNSEEN`) it is not judged. Slices or 3D patches,
    the sums run over all axes but the branches'.

    Args:
        readout: evidence to log odds, pixel by pixel.
        robustness: q in [0, 1].

    Raises:
        ValueError: for another q, or (when called) for labels of another shape than the evidence's.
    """

    learns_from_masks = True  # drawn by an earlier stage; :class:`bundle.data.PseudoLabelSliceDataset`

    def __init__(self, readout: Readout, robustness: float = 0.0) -> None:
        super().__init__()
        if not 0 <= robustness <= 1:
            raise ValueError(f"SelfTrainingLoss robustness: expected a number in [0, 1], got {robustness}")
        self.readout, self.robustness = readout, float(robustness)

    def forward(self, views: Views, labels: torch.Tensor) -> torch.Tensor:
        """Labels (B, 1, H, W[, D]): 1 tumour, 0 not, -1 ignored; returns a scalar."""
        if views.evidence is None:
            raise ValueError(
                "SelfTrainingLoss: expected views with their evidence, got none; let an inferer add it"
            )
        expected = (len(views.evidence.plain), 1, *views.evidence.plain.shape[2:])
        if tuple(labels.shape) != expected:
            raise ValueError(
                f"SelfTrainingLoss: expected labels {expected}, as the evidence, got {tuple(labels.shape)}; set "
                f"`training_slices` to bundle.data.PseudoLabelSliceDataset, as configs/train_selftrain.yaml does, or "
                f"to what configs/network_selftrain3d.yaml names, for a network of three dimensions"
            )
        plain, warped, warp = views.evidence.plain, views.evidence.warped, views.evidence.warp
        tumour, known = (labels > 0).to(plain.dtype), (labels >= 0).to(plain.dtype)
        seen = (warp.apply(known) > 0.99).to(plain.dtype) * views.field_of_view
        loss = self._view(warped, warp.apply(tumour), seen)
        return loss if plain is warped else 0.5 * (self._view(plain, tumour, known) + loss)

    def _view(self, evidence: torch.Tensor, tumour: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        logits = self.readout.logits(evidence)
        looked = logits != UNSEEN
        seen, logits = known * looked, logits.where(looked, 0)
        pixels = (0, *range(2, logits.ndim))
        entropy = (self._cross_entropy(logits, tumour.expand_as(logits)) * seen).sum(pixels)
        found = logits.sigmoid() * seen
        shared = (found * tumour).sum(pixels)
        total = found.sum(pixels) + (tumour * seen).sum(pixels)
        return (entropy / seen.sum(pixels).clamp(min=1) + 1 - (2 * shared + 1) / (total + 1)).sum()

    def _cross_entropy(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self.robustness == 0:
            return F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        q = self.robustness
        right, wrong = (
            -torch.expm1(q * F.logsigmoid(logits)) / q,
            -torch.expm1(q * F.logsigmoid(-logits)) / q,
        )
        return target * right + (1 - target) * wrong
