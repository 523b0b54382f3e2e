"""Weights averaged over steps: what is validated, kept and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine
from ignite.handlers import EMAHandler
from torch import nn

WARM_UP_STEPS = 100  # in which the mean follows the weights more closely, so that it forgets the first ones
WARM_UP_MOMENTUM = 0.2


class AveragedWeights:
    """A running mean of the network's weights by ignite's ``EMAHandler``, or the network itself.

    The mean swings less from epoch to epoch than the weights do, so that which one is the last matters less.

    Args:
        network: that is trained; wrapped or not.
        momentum: share of the new weights in each step's mean, in (0, 1); 0 keeps the network itself.

    Attributes:
        kept: what is to be validated and written, never wrapped.

    Raises:
        ValueError: for a momentum outside [0, 1).
    """

    def __init__(self, network: nn.Module, momentum: float = 0.0) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"ema_momentum: expected a number in [0, 1), got {momentum}")
        self.network: nn.Module = getattr(network, "module", network)
        self.handler: EMAHandler | None = None
        if momentum > 0:
            self.handler = EMAHandler(self.network, momentum, max(momentum, WARM_UP_MOMENTUM), WARM_UP_STEPS)

    @property
    def kept(self) -> nn.Module:
        return self.network if self.handler is None else self.handler.ema_model

    def attach(self, engine: Engine) -> None:
        """Average after each step of the trainer."""
        if self.handler is not None:
            self.handler.attach(engine)

    def state_dict(self) -> dict[str, Any]:
        """Trained weights, where they are not those kept, and steps of the warm-up: a resumed run goes on there."""
        if self.handler is None:
            return {}
        return {"network": self.network.state_dict(), "warm_up_steps": self._warm_up().event_index}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave, once attached."""
        if self.handler is not None:
            self.network.load_state_dict(state["network"])
            self._warm_up().event_index = int(state["warm_up_steps"])

    def _warm_up(self) -> Any:
        """Ignite's schedule of the momentum, which counts steps by itself and is in no checkpoint of the trainer."""
        assert self.handler is not None
        if self.handler.momentum_scheduler is None:
            raise ValueError("AveragedWeights: expected to be attached to the trainer first; call attach")
        return self.handler.momentum_scheduler
