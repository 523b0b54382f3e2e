"""Dice at many thresholds from one pass over a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bundle.metrics.counts import OverlapCounts
from bundle.metrics.dice import dice_score

THRESHOLDS: tuple[float, ...] = tuple(round(0.05 * step, 2) for step in range(1, 20))  # 0.05, 0.10 .. 0.95


def count_over_thresholds(
    cam: np.ndarray, truth: np.ndarray, thresholds: Sequence[float] = THRESHOLDS
) -> list[OverlapCounts]:
    """Count the overlap of ``cam > threshold`` with the truth, for every threshold.

    Exact: each voxel is sorted into the interval between two thresholds that holds it, and sums over the
    intervals from the top give the counts. The thresholds are rounded to the map's own precision, as in
    ``cam > threshold``.

    Args:
        cam: map of any shape, in [0, 1].
        truth: true mask of the same shape, bool.
        thresholds: rising values in [0, 1).

    Raises:
        ValueError: if the thresholds do not rise, or the shapes differ.
    """
    edges = np.asarray(thresholds, dtype=cam.dtype)
    if edges.ndim != 1 or edges.size == 0 or not (np.diff(edges) > 0).all():
        raise ValueError(f"thresholds must rise from one to the next, found {list(thresholds)}; sort them")
    if cam.shape != truth.shape:
        raise ValueError(f"map and truth must have one shape, found {cam.shape} and {truth.shape}")
    # Most of a map lies below the lowest threshold: those voxels are positive at none and need no sorting.
    above = cam > edges[0]
    level = np.searchsorted(edges, cam[above], side="left")  # number of thresholds that lie below the voxel
    everything = np.bincount(level, minlength=edges.size + 1)
    hits = np.bincount(level[truth[above]], minlength=edges.size + 1)
    predicted = everything[::-1].cumsum()[::-1][1:]
    shared = hits[::-1].cumsum()[::-1][1:]
    total = int(np.count_nonzero(truth))
    return [
        OverlapCounts(int(tp), int(count - tp), total - int(tp))
        for count, tp in zip(predicted, shared, strict=True)
    ]


def dice_over_thresholds(
    cam: np.ndarray, truth: np.ndarray, thresholds: Sequence[float] = THRESHOLDS
) -> np.ndarray:
    """Dice of ``cam > threshold`` for every threshold, as fractions; arguments as in `count_over_thresholds`.

    The curve tells how fragile a threshold is. It looks at masks, so nothing may be chosen by it.

    >>> cam, truth = np.array([0.2, 0.6, 0.9]), np.array([False, True, True])
    >>> dice_over_thresholds(cam, truth, [0.1, 0.5, 0.8]).round(3)
    array([0.8  , 1.   , 0.667])
    """
    return np.array([dice_score(counts) for counts in count_over_thresholds(cam, truth, thresholds)])
