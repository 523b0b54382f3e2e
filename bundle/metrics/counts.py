"""How two masks overlap: the three counts that Dice and the ratios are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class OverlapCounts:
    """Voxels that two masks share and that only one of them holds.

    One set of counts feeds Dice, both ratios and every threshold of the sweep, so that these numbers can
    never disagree. MONAI's ``compute_dice`` and ``ConfusionMatrixMetric`` would each walk the volume again,
    as one-hot float tensors; a test holds the Dice made from these counts to MONAI's.

    Args:
        true_positives: voxels in the prediction and in the truth (TP).
        false_positives: voxels in the prediction only (FP).
        false_negatives: voxels in the truth only (FN).
    """

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def prediction(self) -> int:
        """Voxels in the prediction."""
        return self.true_positives + self.false_positives

    @property
    def truth(self) -> int:
        """Voxels in the truth."""
        return self.true_positives + self.false_negatives


def count_overlap(prediction: np.ndarray, truth: np.ndarray) -> OverlapCounts:
    """Count the voxels that two masks share and that only one of them holds.

    Args:
        prediction: predicted mask, bool.
        truth: true mask, bool, of the same shape.

    Raises:
        ValueError: if the shapes differ.

    >>> count_overlap(np.array([True, True, False]), np.array([True, False, True]))
    OverlapCounts(true_positives=1, false_positives=1, false_negatives=1)
    """
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction and truth must have one shape, found {prediction.shape} and {truth.shape}; "
            "bring both to the scan's own grid first"
        )
    shared = int(np.count_nonzero(prediction & truth))
    return OverlapCounts(
        true_positives=shared,
        false_positives=int(np.count_nonzero(prediction)) - shared,
        false_negatives=int(np.count_nonzero(truth)) - shared,
    )
