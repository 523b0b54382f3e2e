"""Ramp-up and logging of loss terms, run state, evaluation."""

from bundle.handlers.loss_term import LossTermHandler, ramp_up
from bundle.handlers.run_state import RandomState, RunState

__all__ = ["LossTermHandler", "RandomState", "RunState", "ramp_up"]
