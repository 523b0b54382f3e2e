"""Where an intensity threshold comes from: the slice's histogram, the tags, or (an upper bound) the test masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from skimage.filters import threshold_otsu
from sklearn.metrics import roc_auc_score

BRIGHT, DARK = 1, -1
STEP = 0.05
THRESHOLDS = np.arange(-80, 121) * STEP  # -4 to 6 SD: a volume's values, clipped to percentiles, lie within
AREAS_FRAC = np.array([0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2])  # of a slice's pixels


@dataclass(frozen=True)
class IntensityRule:
    """A threshold on one modality, z-scored in the volume's foreground.

    Args:
        threshold: in SD.
        direction: 1: the mask is what is brighter; -1: what is darker.
        min_area_frac: share of a slice's pixels; a slice with less beyond the threshold stays empty. 0 keeps all.
        quality: what it was chosen by, a fraction: the area under the ROC curve of the training tags, or the
            oracle's Dice.
    """

    threshold: float
    direction: int
    min_area_frac: float
    quality: float

    def select(self, image: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """What lies beyond the threshold inside the foreground; arrays of one shape, to bool."""
        return (self.direction * (image - self.threshold) > 0) & inside

    def keeps(self, image: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Which slices (…, H, W) have enough beyond the threshold, bool (…)."""
        share = self.select(image, inside).mean(axis=(-2, -1))
        return np.asarray(share >= self.min_area_frac)


def count_beyond(values: np.ndarray) -> np.ndarray:
    """Number of values on either side of each of `THRESHOLDS`: int64 (2, T), brighter (or equal), then darker.

    >>> count_beyond(np.array([-5.0, 0.01, 7.0]))[:, 80].tolist()  # at 0
    [2, 1]
    """
    level = np.floor((values - THRESHOLDS[0]) / STEP).astype(np.int64)
    counts = np.bincount(level.clip(-1, len(THRESHOLDS) - 1) + 1, minlength=len(THRESHOLDS) + 1)
    darker = counts.cumsum()[:-1]
    return np.stack([values.size - darker, darker])


def shares_beyond(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Shares of one slice's pixels on either side of each of `THRESHOLDS`, in the foreground.

    Args:
        image: z-scored, (K, H, W).
        inside: foreground (H, W), bool.

    Returns:
        float32 (K, 2, T).
    """
    return np.stack([count_beyond(channel[inside]) / inside.size for channel in image]).astype(np.float32)


def learn_from_tags(shares: np.ndarray, tags: np.ndarray) -> list[IntensityRule]:
    """Find each modality's threshold and direction whose area beyond it tells positive slices from negative ones.

    The best area under the ROC curve over all slices picks threshold and direction; there, the cut-off of the area
    with the best balanced accuracy says which slices stay empty. No mask is at hand.

    Args:
        shares: of each slice as `shares_beyond` gives them, (slices, K, 2, T).
        tags: 1 or 0 of each slice, both present.

    Returns:
        One rule a modality.
    """
    return [_best_of_tags(channel, tags) for channel in shares.swapaxes(0, 1)]


def _best_of_tags(shares: np.ndarray, tags: np.ndarray) -> IntensityRule:
    """The rule of one modality from shares (slices, 2, T)."""
    aucs = np.array([[roc_auc_score(tags, column) for column in side.T] for side in shares.swapaxes(0, 1)])
    side = int(aucs.max(axis=1).argmax())
    tied = np.flatnonzero(
        aucs[side] == aucs[side].max()
    )  # easy data: many thresholds tell all, the middle is safest
    best = tied[len(tied) // 2]
    called = shares[:, side, best, None] >= AREAS_FRAC
    cutoff = AREAS_FRAC[np.argmax(called[tags == 1].mean(axis=0) - called[tags == 0].mean(axis=0))]
    return _rule(side, int(best), float(cutoff), float(aucs[side, best]))


def choose_by_masks(
    cases: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], modalities: int
) -> list[IntensityRule]:
    """The oracle: the rule of the best mean Dice on the very cases that are scored, among all of `learn_from_tags`.

    It reads masks, so what it gives is an upper bound of one rule for all cases, and never a result.

    Args:
        cases: of each case with a lesion, shares as `shares_beyond` gives them for its slices (S, K, 2, T), and on the
            scan's own grid z-scored image (K, X, Y, S), foreground and mask (X, Y, S), bool.
        modalities: K.

    Raises:
        ValueError: there is no case with a lesion.
    """
    curves = [_dice_of_rules(*case) for case in cases]
    if not curves:
        raise ValueError(
            "rule oracle: no case with a mask that shows a lesion, expected at least one to choose by; prepare the "
            "data with masks or take another rule"
        )
    rules = []
    for mean in np.mean(curves, axis=0):
        area, side, best = np.unravel_index(int(mean.argmax()), mean.shape)
        rules.append(_rule(int(side), int(best), float(AREAS_FRAC[area]), float(mean.max())))
    return rules


def _dice_of_rules(
    shares: np.ndarray, image: np.ndarray, inside: np.ndarray, truth: np.ndarray
) -> np.ndarray:
    """Dice of every rule on one case, (K, areas, 2, T)."""
    found = np.zeros((len(image), len(AREAS_FRAC), 2, len(THRESHOLDS)))
    everything = np.zeros_like(found)
    for index in range(truth.shape[-1]):
        within = inside[..., index]
        shown = truth[..., index][within]
        for channel, plane in enumerate(image[..., index]):
            kept = shares[index, channel] >= AREAS_FRAC[:, None, None]
            everything[channel] += kept * count_beyond(plane[within])
            found[channel] += kept * count_beyond(plane[within][shown])
    return 2 * found / (everything + np.count_nonzero(truth))


def _rule(side: int, best: int, area: float, quality: float) -> IntensityRule:
    return IntensityRule(round(float(THRESHOLDS[best]), 2), (BRIGHT, DARK)[side], area, quality)


def otsu_rules(image: np.ndarray, inside: np.ndarray, positive: np.ndarray) -> list[IntensityRule] | None:
    """Otsu's thresholds (1979; scikit-image) of one case, brighter side, from its slices tagged positive.

    Args:
        image: z-scored (K, X, Y, Z).
        inside: foreground (X, Y, Z), bool.
        positive: which slices are tagged positive, bool (Z,).

    Returns:
        One rule a modality; ``None`` if no voxel of the foreground lies in a positive slice.
    """
    counted = inside & positive
    if not counted.any():
        return None
    return [IntensityRule(float(threshold_otsu(c[counted])), BRIGHT, 0.0, float("nan")) for c in image]


def best_modality(rules: Sequence[IntensityRule]) -> int:
    """Index of the rule of the highest quality."""
    return int(np.argmax([rule.quality for rule in rules]))
