"""Ends a training that gets no better, also one that was interrupted on the way."""

from __future__ import annotations

from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping

from bundle.handlers.run_state import finite_metric


class EarlyStop:
    """Ends the training after some validations without a lower value of a metric, by ignite's ``EarlyStopping``.

    What it counts is kept in the trainer's state, ``state.early_stop``, and so in the checkpoint of a run: a resumed
    one ends where an undisturbed one does, and one that had ended takes no further step. MONAI's ``EarlyStopHandler``
    forgets it.

    Args:
        evaluator: validates; its metrics are alike on all ranks, so that all end together.
        metric: name in them; lower is better.
        patience: validations without a lower value, from 1 up.

    Raises:
        ValueError: (after a validation) the metric is not finite: ignite would count it as a lower value.
    """

    def __init__(self, evaluator: Engine, metric: str, patience: int) -> None:
        self.evaluator, self.metric, self.patience = evaluator, metric, patience

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, after the handler that resumes it."""
        stopping = EarlyStopping(self.patience, lambda ran: -finite_metric(ran, self.metric), engine)

        def keep() -> None:
            engine.state.early_stop = dict(stopping.state_dict())  # type: ignore[attr-defined]

        def restore() -> None:
            stopping.load_state_dict(engine.state.early_stop)  # type: ignore[attr-defined]
            if stopping.counter >= self.patience:
                engine.terminate()

        def count(evaluator: Engine) -> None:
            stopping(evaluator)
            keep()

        keep()
        engine.state_dict_user_keys.append("early_stop")
        engine.add_event_handler(Events.STARTED, restore)
        self.evaluator.add_event_handler(Events.COMPLETED, count)
