"""Timing that a busy machine distorts least: variants take turns, and each turn gives one ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence


def time_in_turn(
    variants: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each variant in each round.

    Every other round goes through the variants backwards, so that none always follows the same one.

    Args:
        variants: name to what is measured.
        rounds: number of measurements of each.
        warm_up: rounds that come before and do not count (memory pools, compiled kernels, the page cache).
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(-warm_up, rounds):
        order = list(variants.items())
        for name, run in order if number % 2 == 0 else order[::-1]:
            begun = time.perf_counter()
            run()
            if number >= 0:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median of the ratios of two variants, round by round.

    >>> median_ratio([2.0, 30.0, 4.0], [1.0, 10.0, 2.0])
    2.0
    """
    return statistics.median(a / b for a, b in zip(above, below, strict=True))
