"""How well branches tell held-out tags: what selects a model, since no mask may."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ignite.metrics import Average
from torch.nn import functional as F


class _TagAverage(Average):
    """An average over slices that is a plain number, as MONAI's key metrics must be."""

    def compute(self) -> float:
        return float(super().compute())


class TagCrossEntropy(_TagAverage):
    """Mean cross-entropy of tags over slices and branches; lower is better. Exact over several processes.

    Reads ``pred``, logits (…, N), and ``label``, tags (…), from the engine's output. Untagged slices (-1), which slabs
    may hold, do not count. Summed on the device.
    """

    def __init__(self) -> None:
        super().__init__(_with_tags(lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none")))


class TagAccuracy(_TagAverage):
    """Share of slices and branches whose predicted class is the tag. It saturates long before maps are good."""

    def __init__(self) -> None:
        super().__init__(_with_tags(lambda z, y: ((z > 0) == (y > 0.5)).to(z.dtype)))


def _with_tags(
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Callable[[Mapping[str, Any] | Sequence[Any]], torch.Tensor]:
    def per_slice(output: Any) -> torch.Tensor:
        tagged = output["label"] >= 0
        logits = output["pred"][tagged]
        tags = output["label"][tagged].to(logits.dtype)
        return score(logits, tags[:, None].expand_as(logits)).mean(1, keepdim=True)

    return per_slice
