"""The sides of slices, or of volumes, that a network takes: found by trying."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

STEPS = (1, 2, 4, 8, 16, 32)  # the last one is what the deepest backbones divide by
TRIED = 128  # pixels: what holds up to here holds beyond, since networks only halve


@dataclass(frozen=True)
class Sides:
    """What each side of the network's input may be: ``least``, ``least + step``, and so on.

    Args:
        least: in pixels.
        step: in pixels.
        axes: number of sides, 2 or 3.
    """

    least: int
    step: int
    axes: int

    @property
    def rule(self) -> str:
        """As the metadata have it: an expression of n, which counts from 1."""
        steps, offset = "n" if self.step == 1 else f"{self.step}*n", self.least - self.step
        return f"{steps}+{offset}" if offset else steps

    def __str__(self) -> str:
        return ", ".join(str(self.least + self.step * place) for place in range(3)) + ", …"


def sides_of(network: nn.Module, modalities: int) -> Sides:
    """The smallest step, and the least side from which on the network takes every one, up to 128 pixels.

    Nothing is computed: a copy on PyTorch's device ``meta`` goes through the shapes alone.

    Args:
        network: in any mode.
        modalities: channels that go in.

    Raises:
        ValueError: it takes not even every multiple of 32 from 64 on.
    """
    axes = 3 if any(isinstance(module, nn.Conv3d) for module in network.modules()) else 2
    shapes = copy.deepcopy(network).to("meta").eval()
    fit = {side for side in range(1, TRIED + 1) if _takes(shapes, (1, modalities, *[side] * axes))}
    for step in STEPS:
        misfits = [side for side in range(step, TRIED + 1, step) if side not in fit]
        least = (misfits[-1] if misfits else 0) + step
        if least <= TRIED // 2:
            return Sides(least, step, axes)
    raise ValueError(
        f"network_def: expected to take slices of 64, 96 and {TRIED} pixels a side, found that it does not; pack a run "
        f"of another network"
    )


def _takes(network: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether a network on ``meta`` gives an output of the same sides."""
    try:
        with torch.no_grad():
            found = network(torch.zeros(shape, device="meta"))
    except (RuntimeError, ValueError):  # which is the answer
        return False
    return found.shape[2:] == shape[2:]
