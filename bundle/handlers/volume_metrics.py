"""How well branches tell held-out volumes' tags, where no slice has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from ignite import distributed as idist
from ignite.engine import Engine
from ignite.metrics import Metric
from torch.nn import functional as F

from bundle.pooling import SlicePooling


class VolumeCrossEntropy(Metric):
    """Mean cross-entropy of volumes' tags over volumes and branches; lower is better. Exact over several processes.

    Reads ``pred``, logits (B, N), and ``label``, each slice's volume's tag (B,), from the engine's output and ``case``
    from its batch. Slices of a volume may lie in any batches; their logits are kept and pooled at the end.

    Args:
        pooling: slices' logits to the volume's, the one that the loss uses.
    """

    def __init__(self, pooling: SlicePooling) -> None:
        self.pooling = pooling
        self._logits: dict[str, list[torch.Tensor]] = {}
        self._tags: dict[str, float] = {}
        super().__init__()

    def reset(self) -> None:
        """Forget all volumes."""
        self._logits, self._tags = {}, {}

    def iteration_completed(self, engine: Engine) -> None:
        """Take the slices of a batch."""
        output: Any = engine.state.output
        batch: Any = engine.state.batch
        self.update((output["pred"], output["label"], batch["case"]))

    def update(self, output: tuple[torch.Tensor, torch.Tensor, Sequence[str]]) -> None:
        """Logits (B, N), tags (B,) and case ids of slices."""
        logits, tags, cases = output
        for case, row, tag in zip(cases, logits.detach().float().cpu(), tags.tolist(), strict=True):
            self._logits.setdefault(case, []).append(row)
            self._tags[case] = tag

    def compute(self) -> float:
        """The mean; nan without a volume."""
        logits, tags = self._gathered()
        entropies = []
        for case in sorted(tags):
            pooled = self.pooling(torch.stack(logits[case]))
            target = torch.full_like(pooled, tags[case])
            entropies.append(F.binary_cross_entropy_with_logits(pooled, target))
        return float(torch.stack(entropies).mean()) if entropies else float("nan")

    def _gathered(self) -> tuple[dict[str, list[torch.Tensor]], dict[str, float]]:
        """All processes' slices, by volume."""
        if idist.get_world_size() == 1:
            return self._logits, self._tags
        parts: list[Any] = [None] * idist.get_world_size()
        torch.distributed.all_gather_object(parts, (self._logits, self._tags))
        logits: dict[str, list[torch.Tensor]] = {}
        tags: dict[str, float] = {}
        for part, said in parts:
            tags.update(said)
            for case, rows in part.items():
                logits.setdefault(case, []).extend(rows)
        return logits, tags
