"""The foreground travels with its image, for servers that hand an inferer nothing else."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

_KEY = "foreground"


class CarryForegroundd(MapTransform):
    """Put ``foreground`` into its image's meta data.

    MONAI Label calls ``inferer(inputs[None], network)``, without further arguments. A `MetaTensor` keeps the
    foreground through that; another channel of the image would change what ``network_def`` is told to take.

    Args:
        keys: images (K, H, W, S).
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = MetaTensor(d[key], meta={_KEY: d["foreground"]})
        return d


def with_foreground(
    inputs: torch.Tensor, foreground: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (B, K, H, W, S) as a plain tensor, which networks run faster on, and the foreground (B, 1, H, W, S).

    Raises:
        ValueError: no foreground was given, and the inputs carry none.
    """
    carried = inputs.meta.get(_KEY) if isinstance(inputs, MetaTensor) else None
    inputs = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
    if foreground is not None:
        return inputs, foreground
    if carried is None:
        raise ValueError(
            "the inferer needs the foreground of its volumes, found none; hand it over as `foreground`, or let "
            "bundle.inferers.CarryForegroundd put it into the image (see `pre_transforms` in configs/inference.yaml)"
        )
    batched = carried if carried.ndim == inputs.ndim else carried[None]  # a single case has no batch axis
    return inputs, torch.as_tensor(batched).to(inputs.device)
