"""Dice: the share of overlap of two masks."""

from __future__ import annotations

from bundle.metrics.counts import OverlapCounts


def dice_score(counts: OverlapCounts) -> float:
    """Dice of two masks, 2 TP / (2 TP + FP + FN).

    Two empty masks agree and give 1; if one of two is empty the value is 0. (MONAI's default is nan where
    the truth is empty; medpy's is nan or 0 by version.)

    Args:
        counts: overlap of prediction and truth.

    Returns:
        A fraction in [0, 1].

    >>> dice_score(OverlapCounts(true_positives=3, false_positives=1, false_negatives=1))
    0.75
    >>> dice_score(OverlapCounts(0, 0, 0)), dice_score(OverlapCounts(0, 5, 0))
    (1.0, 0.0)
    """
    total = counts.prediction + counts.truth
    return 1.0 if total == 0 else 2 * counts.true_positives / total
