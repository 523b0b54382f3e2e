"""K branches side by side: one network a modality, no shared weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn


class BranchEnsemble(nn.Module):
    """Runs one branch on each modality (Patel and Dolz 2022, Figure 3) and stacks their evidence.

    The branches are independent, so one backward of the summed loss with one optimizer equals K separate rounds.

    Args:
        modalities: names of the input channels, in order; K is their number.
        branch: makes a branch; called as ``branch(in_channels=1)`` K times.
        early_fusion: one branch that sees all modalities as channels instead (paper, Table 7).
        wrap: adds a part of a method's own to each branch; called as ``wrap(branch=made)``. ``None`` for none.

    Shape:
        (B, K, H, W) to (B, N * C, H, W), branch by branch: N = K branches, or 1 with early fusion, of C head
        channels each, and what ``wrap`` appends to them.

    Attributes:
        trust: how far each branch is trusted, from 0 up, (N,): 1 for all until :class:`bundle.handlers.BranchTrust`
            sets it. It is saved with the weights, for the terms in which branches teach each other and for fusion.

    Raises:
        ValueError: without modalities, or if an image has another number of channels.
    """

    if TYPE_CHECKING:  # TorchScript can't read annotations that are text
        trust: torch.Tensor
    __jit_unused_properties__ = ("map_names",)

    def __init__(
        self,
        modalities: Sequence[str],
        branch: Callable[..., nn.Module],
        early_fusion: bool = False,
        wrap: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if not modalities or isinstance(modalities, str):
            raise ValueError(
                f"BranchEnsemble modalities: expected a list of at least one name, got {modalities!r}"
            )
        self.modalities = tuple(modalities)
        self.expected = f"{len(self.modalities)} channels ({', '.join(self.modalities)})"
        self.inputs = len(self.modalities) if early_fusion else 1
        count = 1 if early_fusion else len(self.modalities)
        made = [branch(in_channels=self.inputs) for _ in range(count)]
        self.branches = nn.ModuleList(made if wrap is None else [wrap(branch=one) for one in made])
        self.register_buffer("trust", torch.ones(count))

    @property
    def map_names(self) -> list[str]:
        """Names of the N branches: the modalities, or one name for the branch that sees them all."""
        return (
            list(self.modalities) if len(self.branches) > 1 or len(self.modalities) == 1 else ["early_fusion"]
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if image.shape[1] != len(self.modalities):
            raise ValueError(
                f"BranchEnsemble: expected {self.expected}, got {image.shape[1]}; `modalities` must name the "
                f"channels of the data"
            )
        parts = image.split(self.inputs, dim=1)
        # TorchScript knows no zip over modules
        return torch.cat([branch(parts[place]) for place, branch in enumerate(self.branches)], dim=1)


def trust_of(network: nn.Module) -> torch.Tensor | None:
    """How far the branches of a network are trusted, (N,); ``None`` where it keeps no such record. Wrapped or not."""
    return getattr(getattr(network, "module", network), "trust", None)
