"""Where the body is: voxels that are not the scanner's or the skull stripper's empty background."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

LEAST_SHARE = 0.1  # a value that fills less of the volume than this is tissue, not background
SAMPLED_VOXELS = 100_000  # enough to find every value that fills a tenth of the volume


def background_value(volume: np.ndarray) -> float | None:
    """The most frequent value of a volume if it fills more than a tenth of it, else ``None``."""
    flat = np.ravel(volume, order="K")
    sample = flat[:: max(1, flat.size // SAMPLED_VOXELS)]
    values, counts = np.unique(sample, return_counts=True)
    candidates = values[np.argsort(-counts, kind="stable")[:5]]
    exact = [int(np.count_nonzero(flat == value)) for value in candidates]
    best = int(np.argmax(exact))
    return float(candidates[best]) if exact[best] > LEAST_SHARE * flat.size else None


def find_foreground(image: np.ndarray) -> np.ndarray:
    """Voxels where any modality differs from its constant background, holes filled slice by slice.

    A modality without a constant background makes the whole volume foreground.

    Args:
        image: (K, X, Y, Z); slices lie along the last axis.

    Returns:
        bool (X, Y, Z).
    """
    found = np.zeros(image.shape[1:], dtype=bool)
    for channel in image:
        background = background_value(channel)
        if background is None:
            return np.ones(image.shape[1:], dtype=bool)
        found |= channel != channel.dtype.type(background)
    return _without_holes(found)


def _without_holes(found: np.ndarray) -> np.ndarray:
    """Fills what no path within the slice connects to the slice's border."""
    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[1, :, 1] = in_plane[:, 1, 1] = True
    labels, count = ndimage.label(~found, structure=in_plane)
    outside = np.zeros(count + 1, dtype=bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[np.unique(edge)] = True
    outside[0] = False  # label 0 is the foreground itself
    return ~outside[labels]
