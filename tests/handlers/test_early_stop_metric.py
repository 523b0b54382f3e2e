"""What early stopping makes of a metric that is no number; how it ends a training is tested end to end."""

from __future__ import annotations

import math

import pytest
from ignite.engine import Engine, Events

from bundle.handlers import EarlyStop


def trained(values: list[float], patience: int = 2) -> int:
    """Number of epochs of a training whose validations find these values, one an epoch."""
    trainer, evaluator = (Engine(lambda engine, batch: None) for _ in range(2))

    @evaluator.on(Events.COMPLETED)
    def measure() -> None:
        evaluator.state.metrics["cost"] = values[trainer.state.epoch - 1]

    EarlyStop(evaluator, "cost", patience).attach(trainer)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    trainer.run([0], max_epochs=len(values))
    return trainer.state.epoch


def test_two_validations_without_a_lower_value_end_it():
    assert trained([3.0, 2.0, 2.5, 2.0, 1.0]) == 4


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_an_error_and_no_better_one(value):
    with pytest.raises(
        ValueError, match=r"validation: expected a finite cost, got (nan|inf); the weights have"
    ):
        trained([3.0, value, 2.0, 1.0])
