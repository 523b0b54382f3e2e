"""One handler, configured by name, sets a term's weight each epoch and logs what it cost."""

from __future__ import annotations

import math

import pytest
import torch
from ignite.engine import Events

from bundle.handlers import LossTermHandler, ramp_up
from bundle.losses import ClassificationLoss, JointLoss
from tests.tiny import tiny_loss
from tests.tiny_trainer import TinyRun


class Recorder:
    """Notes the term's values and weight at every step and the trainer's metrics after each epoch."""

    def __init__(self, loss: JointLoss, term: str) -> None:
        self.loss, self.term = loss, term
        self.values: list[list[float]] = []
        self.weights: list[set[float]] = []
        self.metrics: list[dict[str, float]] = []

    def attach(self, engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: self.metrics.append(dict(e.state.metrics)))

    def _start(self, engine) -> None:
        self.values.append([])
        self.weights.append(set())

    def _step(self, engine) -> None:
        self.values[-1].append(float(self.loss.values[self.term]))
        self.weights[-1].add(self.loss.weights[self.term])


def test_the_ramp_by_hand():
    # T = 3, t epochs done before: exp(-(t - 3)^2) for t < 3, then 1
    expected = [math.exp(-9), math.exp(-4), math.exp(-1), 1.0, 1.0]
    assert [ramp_up(1.0, 3, epoch) for epoch in range(1, 6)] == pytest.approx(expected)
    assert [ramp_up(0.5, 3, epoch) for epoch in range(1, 6)] == pytest.approx(
        [0.5 * value for value in expected]
    )


def test_without_ramp_the_weight_is_constant():
    assert [ramp_up(0.7, 0, epoch) for epoch in (1, 2, 30)] == [0.7] * 3


def test_the_papers_ramp_is_nearly_a_step_at_epoch_15():
    assert ramp_up(1.0, 15, 14) == pytest.approx(math.exp(-4))  # t = 13
    assert ramp_up(1.0, 15, 15) == pytest.approx(math.exp(-1))  # t = 14
    assert ramp_up(1.0, 15, 16) == 1.0


@pytest.mark.parametrize("term", ["er", "kd", "cmer"])
def test_a_stock_trainer_gets_the_weight_each_epoch_and_logs_the_mean_value(term):
    loss = tiny_loss()
    final = loss.weights[term]
    recorder = Recorder(loss, term)
    TinyRun(epochs=4, loss=loss).run([LossTermHandler(term, loss, ramp_epochs=2), recorder])
    expected = [ramp_up(final, 2, epoch) for epoch in range(1, 5)]
    for weight, used, values, metrics in zip(
        expected, recorder.weights, recorder.values, recorder.metrics, strict=True
    ):
        assert used == {weight}
        assert metrics[f"weight_{term}"] == weight
        assert len(values) == 3
        assert metrics[f"loss_{term}"] == pytest.approx(sum(values) / 3, rel=1e-5)


def test_a_handler_sets_only_its_own_term():
    loss = tiny_loss()
    TinyRun(epochs=1, loss=loss).run([LossTermHandler("er", loss, ramp_epochs=5)])
    assert loss.weights == {"classification": 1.0, "er": math.exp(-25), "kd": 0.5, "cmer": 1.0}


def test_a_term_that_a_method_switched_off_is_left_alone():
    loss = JointLoss({"classification": {"loss": ClassificationLoss(), "weight": 1.0}, "er": None})
    run = TinyRun(epochs=1, loss=loss).run([LossTermHandler("er", loss, ramp_epochs=2)])
    assert loss.weights == {"classification": 1.0}
    assert not run.trainer.state.metrics


def test_logged_values_hold_no_graph():
    loss = tiny_loss()
    run = TinyRun(epochs=1, loss=loss).run([LossTermHandler("er", loss)])
    assert not any(isinstance(value, torch.Tensor) for value in run.trainer.state.metrics.values())


def test_an_unknown_term_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'ccmer' is unknown; `loss_terms` has classification, er, kd, cmer"):
        LossTermHandler("ccmer", tiny_loss())
