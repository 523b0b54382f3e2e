"""Intensities of all modalities on one scale."""

from __future__ import annotations

import numpy as np


def z_scores(values: np.ndarray) -> np.ndarray:
    """Each modality's values (K, n) less their mean, over their standard deviation; 0 where a modality is constant."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape[1] == 0:
        return values
    centred = values - values.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-12)
