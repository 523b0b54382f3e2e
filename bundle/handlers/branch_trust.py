"""How far each branch is trusted: by how well it tells held-out tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.nn import functional as F

from bundle.networks import trust_of


class BranchTrust:
    """Sets the networks' ``trust`` after each validation, from tags alone.

    A branch's skill is the share of the tags' cross-entropy that it explains, ``1 - CE / CE_0`` with CE_0 of the
    constant prediction of their mean (McFadden's pseudo R squared), not below 0; its trust is ``skill ** power``. Where
    no branch has any skill, all are trusted alike. As a teacher in KD and CMER, and in a weighted fusion, a modality
    that shows nothing then weighs nothing. Reads ``pred``, logits (B, N), and ``label``, tags (B,).

    Args:
        networks: ensembles that get the trust; wrapped or not.
        power: above 1 prefers the best branch more clearly; 0: all alike.

    Raises:
        ValueError: for a negative power, or without a network that keeps a record of trust.
    """

    def __init__(self, networks: Sequence[nn.Module], power: float = 2.0) -> None:
        if power < 0:
            raise ValueError(f"BranchTrust power: expected a number from 0 up, got {power}")
        self.networks = list(networks)
        if not networks or len(self._records()) < len(networks):
            raise ValueError(
                f"BranchTrust networks: expected ensembles of branches, got "
                f"{', '.join(type(network).__name__ for network in networks) or 'none'}"
            )
        self.power = power
        self._sums = torch.zeros(0)

    def attach(self, engine: Engine) -> None:
        """Listen to the validating engine."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.COMPLETED, self._set)

    def _start(self, engine: Engine) -> None:
        first = self._records()[0]
        self._sums = torch.zeros(len(first) + 2, dtype=torch.float64, device=first.device)

    def _add(self, engine: Engine) -> None:
        output: Any = engine.state.output
        logits, tags = output["pred"].double(), output["label"].double()
        target = tags[:, None].expand_as(logits)
        entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(0)
        counts = torch.stack([tags.sum(), tags.new_tensor(len(tags))])
        self._sums += torch.cat([entropy, counts]).to(self._sums)

    def _set(self, engine: Engine) -> None:
        *entropies, positive, count = torch.as_tensor(idist.all_reduce(self._sums))
        if count > 0:
            trust = trust_of_entropies(torch.stack(entropies) / count, positive / count, self.power)
            for record in self._records():
                record.copy_(trust)

    def _records(self) -> list[torch.Tensor]:
        found = (trust_of(network) for network in self.networks)
        return [record for record in found if record is not None]


def trust_of_entropies(entropies: torch.Tensor, positive_frac: torch.Tensor, power: float) -> torch.Tensor:
    """Mean cross-entropy of each branch (N,) and the share of positive tags to the branches' trust (N,).

    >>> import torch
    >>> trust_of_entropies(torch.tensor([0.6931, 0.3466, 0.9]), torch.tensor(0.5), power=1.0).round(decimals=2)
    tensor([0.0000, 0.5000, 0.0000])
    """
    prior = F.binary_cross_entropy(positive_frac, positive_frac).clamp(min=1e-6)
    trust = (1 - entropies / prior).clamp(min=0) ** power
    return trust if bool(trust.any()) else torch.ones_like(trust)
