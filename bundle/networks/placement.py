"""Where a network's weights lie."""

from __future__ import annotations

import torch
from torch import nn


def on_device(network: nn.Module, device: torch.device | str) -> nn.Module:
    """Bring a network to a device: channels last if it is of two dimensions, which is faster there; else as it is.

    Args:
        network: of any dimension, moved in place.
        device: where to.

    >>> on_device(nn.Conv3d(2, 4, 3), "cpu").weight.shape
    torch.Size([4, 2, 3, 3, 3])
    """
    if any(
        weight.ndim == 5 for weight in network.parameters()
    ):  # which PyTorch refuses to bring into that order
        return network.to(device)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
