"""What held-out tags are compared with: the branches' logits of single slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer
from torch import nn

from bundle.inferers.precision import autocast
from bundle.inferers.reading import CamReader


class TagInferer(Inferer):
    """Image-level logits of a batch of slices, for validation on held-out tags.

    Args:
        reader: evidence to logits, the one that training uses.
        normalise: called on the slices before the network (paper: per slice); ``None`` for none.
        precision: see :class:`bundle.inferers.TwoViewInferer`.
    """

    def __init__(
        self,
        reader: CamReader,
        normalise: Callable[[torch.Tensor], torch.Tensor] | None = None,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        self.reader, self.normalise, self.precision = reader, normalise, precision

    def __call__(  # type: ignore[override]  # `foreground` comes by name, from the trainer's prepare_batch
        self, inputs: torch.Tensor, network: nn.Module, foreground: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Images (B, K, H, W) and foreground (B, 1, H, W) to log odds of tumour, (B, N)."""
        image = inputs if self.normalise is None else self.normalise(inputs)
        with autocast(image.device, self.precision):
            evidence = network(image)
        return self.reader.logits(evidence.float(), foreground)
