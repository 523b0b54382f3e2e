"""A pooling that sharpens while it trains."""

from __future__ import annotations

from ignite.engine import Engine, Events

from bundle.handlers.loss_term import ramp_up
from bundle.pooling import Pooling


class AnnealedPooling:
    """Moves a number of the pooling from a blunt start to its own value over the first epochs.

    A blunt pooling lets all of a lesion feel the tag's gradient while nobody knows yet where it lies; a sharp one draws
    the boundary. The way is ``value + (start - value) (1 - ramp(t))`` with the ramp of ER and CMER. It depends on
    the epoch alone, so a resumed run needs nothing. Validation pools as training does in that epoch, inference with
    the pooling's own value: keep the last epoch's weights (`selection: null`).

    Args:
        pooling: the object that training and validation share.
        attribute: name of the number, such as ``decay_per_mille``, ``sharpness`` or ``share_frac``.
        start: its value before the first step.
        epochs: until it has its own value.

    Raises:
        ValueError: the pooling has no such number, or there are no epochs.
    """

    def __init__(self, pooling: Pooling, attribute: str, start: float, epochs: float) -> None:
        if not isinstance(getattr(pooling, attribute, None), float):
            raise ValueError(
                f"AnnealedPooling: {type(pooling).__name__} has no number {attribute!r}; it has "
                f"{', '.join(name for name, value in vars(pooling).items() if isinstance(value, float)) or 'none'}"
            )
        if epochs <= 0:
            raise ValueError(f"AnnealedPooling epochs: expected a positive number, got {epochs}")
        self.pooling, self.attribute, self.start, self.epochs = (
            pooling,
            attribute,
            float(start),
            float(epochs),
        )
        self.end: float = getattr(pooling, attribute)

    def attach(self, engine: Engine) -> None:
        """Set the number at the start of each of the trainer's epochs."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        left = 1 - ramp_up(1.0, self.epochs, engine.state.epoch)
        setattr(self.pooling, self.attribute, self.end + (self.start - self.end) * left)
