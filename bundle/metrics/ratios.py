"""Under- and over-segmentation: what a mask misses and what it adds, relative to what it hits."""

from __future__ import annotations

import math

from bundle.metrics.counts import OverlapCounts


def under_ratio(counts: OverlapCounts) -> float:
    """Under-segmentation r_u = FN / TP; 0 is best, nan if nothing is hit (TP = 0).

    >>> under_ratio(OverlapCounts(true_positives=4, false_positives=1, false_negatives=2))
    0.5
    """
    return counts.false_negatives / counts.true_positives if counts.true_positives else math.nan


def over_ratio(counts: OverlapCounts) -> float:
    """Over-segmentation r_o = FP / TP; 0 is best, nan if nothing is hit (TP = 0).

    >>> over_ratio(OverlapCounts(true_positives=4, false_positives=1, false_negatives=2))
    0.25
    """
    return counts.false_positives / counts.true_positives if counts.true_positives else math.nan
