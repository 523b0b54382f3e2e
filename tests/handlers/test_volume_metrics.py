"""Held-out volumes: their slices may come in any batches."""

from __future__ import annotations

import math

import pytest
import torch
from ignite.engine import Engine

from bundle.handlers import VolumeCrossEntropy
from bundle.pooling import SlicePooling

LOGITS = torch.tensor([[2.0, -1.0], [-3.0, -2.0], [0.0, 1.0], [-1.0, -4.0]])
TAGS = torch.tensor([1.0, 1.0, 0.0, 0.0])
CASES = ["017", "017", "018", "018"]


def compute(order: list[int], batch_size: int) -> float:
    """The metric on an engine that sees the slices in this order."""
    engine = Engine(lambda _, batch: {"pred": LOGITS[batch["rows"]], "label": TAGS[batch["rows"]]})
    VolumeCrossEntropy(SlicePooling(0.0)).attach(engine, "volume_cross_entropy")
    parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    engine.run([{"rows": rows, "case": [CASES[row] for row in rows]} for rows in parts])
    return engine.state.metrics["volume_cross_entropy"]


@pytest.mark.parametrize(("order", "batch_size"), [([0, 1, 2, 3], 4), ([3, 0, 2, 1], 1), ([0, 2, 1, 3], 3)])
def test_it_is_the_mean_over_volumes_and_branches_however_slices_are_batched(order, batch_size):
    # volume 017, positive, highest logits 2 and -1; volume 018, negative, 0 and 1
    softplus = [math.log1p(math.exp(value)) for value in (-2, 1, 0, 1)]
    assert compute(order, batch_size) == pytest.approx(sum(softplus) / 4, rel=1e-6)
    assert isinstance(compute(order, batch_size), float)


def test_a_new_run_forgets_the_last():
    metric = VolumeCrossEntropy(SlicePooling())
    metric.update((LOGITS, TAGS, CASES))
    first = metric.compute()
    metric.reset()
    assert math.isnan(metric.compute())
    metric.update((LOGITS, TAGS, CASES))
    assert metric.compute() == first
