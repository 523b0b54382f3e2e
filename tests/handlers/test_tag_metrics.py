"""Held-out tags select the model: exact over batches of unequal size."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from bundle.handlers import TagAccuracy, TagCrossEntropy
from tests.tiny import tiny_network, tiny_reader, tiny_slices
from tests.tiny_trainer import tiny_evaluator

LOGITS = torch.tensor([[2.0, -1.0], [0.5, 3.0], [-4.0, 1.0], [0.0, 0.1], [-0.2, -0.3]])
TAGS = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0])


def compute(metric, *sizes: int) -> float:
    """The metric over batches of these sizes, as an engine feeds it."""
    metric.reset()
    for logits, tags in zip(LOGITS.split(sizes), TAGS.split(sizes), strict=True):
        metric.update(metric._output_transform({"pred": logits, "label": tags}))
    return metric.compute()


@pytest.mark.parametrize("sizes", [(5,), (2, 3), (4, 1), (1, 1, 1, 1, 1)])
def test_cross_entropy_is_the_mean_over_slices_and_branches_however_they_are_batched(sizes):
    expected = F.binary_cross_entropy_with_logits(LOGITS, TAGS[:, None].expand_as(LOGITS))
    assert compute(TagCrossEntropy(), *sizes) == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("sizes", [(5,), (2, 3), (4, 1)])
def test_accuracy_is_the_share_of_right_classes(sizes):
    # right: (2, tag 1), (-4, tag 0), (0.1, tag 1); a logit of 0 says healthy. 3 of 10.
    assert compute(TagAccuracy(), *sizes) == pytest.approx(0.3)


@pytest.mark.parametrize("metric", [TagCrossEntropy, TagAccuracy])
def test_slabs_count_by_their_tagged_slices(metric):
    logits, tags = torch.full((2, 4, 2), 9.0), -torch.ones(2, 4)
    logits[0, 1:4], logits[1, 0:2] = LOGITS[:3], LOGITS[3:]
    tags[0, 1:4], tags[1, 0:2] = TAGS[:3], TAGS[3:]
    slabs = metric()
    for part in range(2):
        slabs.update(
            slabs._output_transform({"pred": logits[part : part + 1], "label": tags[part : part + 1]})
        )
    assert slabs.compute() == pytest.approx(compute(metric(), 5))


@pytest.mark.parametrize("metric", [TagCrossEntropy, TagAccuracy])
def test_the_value_is_a_plain_number_which_loggers_and_key_metrics_need(metric):
    assert isinstance(compute(metric(), 5), float)


def test_on_a_stock_evaluator_it_is_the_key_metric():
    network = tiny_network()
    evaluator = tiny_evaluator(network)
    evaluator.run()
    image, foreground, tags = tiny_slices(2, 5, seed=9)
    with torch.no_grad():
        logits = tiny_reader().logits(network.eval()(image), foreground)
    expected = F.binary_cross_entropy_with_logits(logits, tags[:, None].expand_as(logits)).item()
    assert evaluator.state.metrics["tag_cross_entropy"] == pytest.approx(expected, rel=1e-5)
    assert evaluator.state.best_metric == evaluator.state.metrics["tag_cross_entropy"]
