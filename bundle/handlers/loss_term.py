"""One class for ER, KD, CMER and any other term: sets its weight each epoch and logs its value."""

from __future__ import annotations

import math

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.handlers import ParamSchedulerHandler

from bundle.losses import JointLoss


def ramp_up(weight: float, ramp_epochs: float, current_step: int) -> float:
    """lambda_E(t) of Patel and Dolz (2022), section 4.3, times ``weight``: exp(-(t - T)^2) before T, then 1.

    Args:
        weight: final weight.
        ramp_epochs: T, in epochs; 0 for a constant weight.
        current_step: number of the epoch, counted from 1 as engines do; t is the number completed before it.

    >>> [round(ramp_up(1.0, 2, epoch), 3) for epoch in (1, 2, 3, 4)]
    [0.018, 0.368, 1.0, 1.0]
    """
    epochs_left = ramp_epochs - (current_step - 1)
    return weight if epochs_left <= 0 else weight * math.exp(-(epochs_left**2))


class LossTermHandler(ParamSchedulerHandler):
    """Sets one loss term's weight at the start of each epoch and logs weight and mean value at its end.

    Values are summed on the device and read once an epoch, into ``engine.state.metrics["loss_<term>"]`` and
    ``["weight_<term>"]``, where the loggers find them. A term that a method switched off is left alone.

    Args:
        term: name in ``loss_terms``.
        loss: the joint loss.
        ramp_epochs: T of :func:`ramp_up`, in epochs; 0 keeps the weight that ``loss_terms`` gives.

    Raises:
        ValueError: if ``loss_terms`` has no such name.
    """

    def __init__(self, term: str, loss: JointLoss, ramp_epochs: float = 0.0) -> None:
        if term not in loss.known:
            raise ValueError(
                f"LossTermHandler term {term!r} is unknown; `loss_terms` has {', '.join(loss.known)}"
            )
        self.term, self.loss = term, loss
        self._sum: torch.Tensor | None = None
        self._steps = 0
        super().__init__(
            parameter_setter=lambda weight: loss.set_weight(term, weight),
            value_calculator=ramp_up,
            vc_kwargs={"weight": loss.weights.get(term, 0.0), "ramp_epochs": ramp_epochs},
            epoch_level=True,
            event=Events.EPOCH_STARTED,  # type: ignore[arg-type]  # MONAI annotates str, its default is an Events
        )

    def attach(self, engine: Engine) -> None:
        if self.term not in self.loss.weights:
            return
        super().attach(engine)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._log)

    def _add(self, engine: Engine) -> None:
        value = self.loss.values.get(self.term)
        if value is not None:
            self._sum = value if self._sum is None else self._sum + value
            self._steps += 1

    def _log(self, engine: Engine) -> None:
        if self._sum is not None:
            total = idist.all_reduce(self._sum.clone())  # over all processes; one process: itself
            steps = idist.all_reduce(self._steps)
            engine.state.metrics[f"loss_{self.term}"] = float(total) / float(steps)
        engine.state.metrics[f"weight_{self.term}"] = self.loss.weights[self.term]
        self._sum, self._steps = None, 0


class LossTermHandlers:
    """One :class:`LossTermHandler` for each term in use, ramped up as ``loss_terms`` says.

    Args:
        loss: the joint loss, whose terms carry ``ramp_epochs``.
    """

    def __init__(self, loss: JointLoss) -> None:
        self.handlers = [LossTermHandler(name, loss, ramp) for name, ramp in loss.ramp_epochs.items()]

    def attach(self, engine: Engine) -> None:
        """Attach all of them."""
        for handler in self.handlers:
            handler.attach(engine)
