"""From an evidence map to an image-level logit, over the slice or its foreground."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch


class Pooling(ABC):
    """Pools evidence over the pixels that may bear it.

    Args:
        foreground_only: pool over the foreground instead of the whole slice. Evidence on an empty background
            explains tags without showing anything, so this decides much (docs/methods.md).
    """

    def __init__(self, foreground_only: bool = True) -> None:
        self.foreground_only = foreground_only

    def __call__(
        self, evidence: torch.Tensor, foreground: torch.Tensor, field_of_view: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Pool a batch.

        Args:
            evidence: (B, N * C, H, W), in logits.
            foreground: 1 inside, 0 outside, (B, 1, H, W).
            field_of_view: 1 where a warped slice shows something, (B, 1, H, W); ``None`` for all of it. Other
                pixels are not pooled.

        Returns:
            (B, N * C). A slice without any foreground gives 0, with no gradient.
        """
        values = evidence.flatten(2)
        inside = foreground > 0.5 if self.foreground_only else torch.ones_like(foreground, dtype=torch.bool)
        if field_of_view is not None:
            inside = inside & (field_of_view > 0.5)
        return self.pool(values, inside.flatten(2).to(values.dtype).expand_as(values))

    @abstractmethod
    def pool(self, values: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        """Pool (B, M, P) values where ``inside``, 0 or 1 and of the same shape, is 1, to (B, M)."""


class AveragePooling(Pooling):
    """Global average pooling (Zhou et al. 2016; the paper's choice, over the whole slice)."""

    def pool(self, values: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        return (values * inside).sum(-1) / inside.sum(-1).clamp(min=1)


class RankPooling(Pooling):
    """Global weighted rank pooling: the i-th largest value weighs decay ** i (Kolesnikov and Lampert 2016, eq. 3).

    Args:
        decay_per_mille: the decay that holds over a thousandth of the pixels pooled. Weights then depend on
            the *share* of the region, not on resolution: 0.996 a pixel on 80x80 slices with half of them
            foreground (3,200 pixels) is 0.9873 per thousandth.
        foreground_only: see :class:`Pooling`.
    """

    def __init__(self, decay_per_mille: float = 0.987, foreground_only: bool = True) -> None:
        super().__init__(foreground_only)
        if not 0 < decay_per_mille <= 1:
            raise ValueError(
                f"RankPooling decay_per_mille: expected a number in (0, 1], got {decay_per_mille}"
            )
        self.decay_per_mille = decay_per_mille

    def pool(self, values: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        # The order does not depend on the decay's gradient, and pixels outside are sorted to the end with weight 0.
        ordered = _descending(values, inside)
        count = inside.sum(-1, keepdim=True)
        rank = torch.arange(values.shape[-1], device=values.device, dtype=values.dtype)
        weight = torch.exp(math.log(self.decay_per_mille) * 1000 * rank / count.clamp(min=1)) * (rank < count)
        ordered = ordered.masked_fill(weight == 0, 0)
        return (ordered * weight).sum(-1) / weight.sum(-1).clamp(min=1e-12)


def _descending(values: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Values inside from high to low, behind them the lowest finite number: onnxruntime made nan of -inf times 0."""
    lowest = torch.finfo(values.dtype).min
    return values.masked_fill(inside == 0, lowest).sort(dim=-1, descending=True).values


class LogSumExpPooling(Pooling):
    """Smooth maximum log(mean(exp(r x))) / r (Pinheiro and Collobert 2015, eq. 1).

    Args:
        sharpness: r: towards 0 it is the average, towards infinity the maximum.
        foreground_only: see :class:`Pooling`.
    """

    def __init__(self, sharpness: float = 4.0, foreground_only: bool = True) -> None:
        super().__init__(foreground_only)
        if sharpness <= 0:
            raise ValueError(f"LogSumExpPooling sharpness: expected a positive number, got {sharpness}")
        self.sharpness = sharpness

    def pool(self, values: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        count = inside.sum(-1)
        scaled = (self.sharpness * values).masked_fill(inside == 0, -1e30)
        pooled = (torch.logsumexp(scaled, dim=-1) - count.clamp(min=1).log()) / self.sharpness
        return torch.where(count > 0, pooled, torch.zeros_like(pooled))


class TopSharePooling(Pooling):
    """Mean of the largest values.

    Args:
        share_frac: share of the pixels averaged, at least one pixel.
        foreground_only: see :class:`Pooling`.
    """

    def __init__(self, share_frac: float = 0.1, foreground_only: bool = True) -> None:
        super().__init__(foreground_only)
        if not 0 < share_frac <= 1:
            raise ValueError(f"TopSharePooling share_frac: expected a share in (0, 1], got {share_frac}")
        self.share_frac = share_frac

    def pool(self, values: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        ordered = _descending(values, inside)
        count = inside.sum(-1, keepdim=True)
        kept = (count * self.share_frac).ceil()
        weight = (torch.arange(values.shape[-1], device=values.device) < kept).to(values.dtype)
        return (ordered.masked_fill(weight == 0, 0) * weight).sum(-1) / kept.squeeze(-1).clamp(min=1)
