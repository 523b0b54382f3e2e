"""The pooling sharpens with the ramp and ends as it was configured."""

from __future__ import annotations

import pytest
from ignite.engine import Engine, Events

from bundle.handlers import AnnealedPooling
from bundle.pooling import AveragePooling, RankPooling, TopSharePooling


def values(pooling, attribute: str, start: float, epochs: float, count: int) -> list[float]:
    """The number in each epoch of a trainer."""
    found: list[float] = []
    trainer = Engine(lambda engine, batch: None)
    AnnealedPooling(pooling, attribute, start, epochs).attach(trainer)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: found.append(getattr(pooling, attribute)))
    trainer.run([0], max_epochs=count)
    return found


def test_the_number_goes_from_its_start_to_its_own_value():
    # ramp of T = 2: exp(-4), exp(-1), 1, 1; 0.2 + 0.6 (1 - ramp)
    found = values(TopSharePooling(share_frac=0.2), "share_frac", 0.8, 2, 4)
    assert found == pytest.approx([0.7890, 0.5793, 0.2, 0.2], abs=1e-4)


def test_what_it_starts_from_may_be_either_side():
    assert values(RankPooling(0.98), "decay_per_mille", 0.9, 1, 2) == pytest.approx([0.9294, 0.98], abs=1e-4)


def test_a_pooling_without_such_a_number_is_refused():
    with pytest.raises(ValueError, match="AveragePooling has no number 'sharpness'; it has none"):
        AnnealedPooling(AveragePooling(), "sharpness", 1.0, 2)


def test_no_epochs_are_refused():
    with pytest.raises(ValueError, match="epochs: expected a positive number, got 0"):
        AnnealedPooling(RankPooling(), "decay_per_mille", 0.99, 0)
