"""Thresholds of maps, found without any mask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from skimage.filters import threshold_otsu
from sklearn.mixture import GaussianMixture

from bundle.data.names import nearest_name
from bundle.refinement.intensities import z_scores

EMPTY = 1.0  # no map exceeds it, so the mask is empty
MOST_VALUES = 20_000  # that a mixture is fitted to; more change its boundary in the third digit


class ThresholdRule(ABC):
    """Gives the threshold of one map of one case; the mask is where the map exceeds it."""

    name = ""

    @property
    def shown(self) -> float | str:
        """What reports print: the number if it is one for all maps, else the rule's name."""
        return self.name

    @abstractmethod
    def __call__(
        self, cam: np.ndarray, image: np.ndarray | None = None, foreground: np.ndarray | None = None
    ) -> float:
        """The threshold in [0, 1]; at `EMPTY` there is no mask.

        Args:
            cam: map (X, Y, Z) in [0, 1].
            image: modalities (K, X, Y, Z); only `IntensityVarianceThreshold` looks at it.
            foreground: true inside (X, Y, Z); ``None``: everything is.
        """


class FixedThreshold(ThresholdRule):
    """The same number for every map (Patel and Dolz 2022: 0.5), whatever the map looks like.

    Args:
        value: in [0, 1).

    Raises:
        ValueError: for a number outside [0, 1).
    """

    name = "fixed"

    def __init__(self, value: float = 0.5) -> None:
        if not 0 <= value < 1:
            raise ValueError(f"threshold: expected a number in [0, 1), got {value}")
        self.value = float(value)

    @property
    def shown(self) -> float | str:
        return self.value

    def __call__(
        self, cam: np.ndarray, image: np.ndarray | None = None, foreground: np.ndarray | None = None
    ) -> float:
        return self.value


class DividingThreshold(ThresholdRule):
    """Divides the values that a map takes in the foreground into two groups.

    Two groups are found in noise as well. So a map in which there is nothing to be divided gets `EMPTY`, and its mask
    holds no voxel: one that nowhere in the foreground exceeds ``peak``, and one that is the same everywhere in it.
    Where all values above ``floor`` are the same one, ``floor`` is the threshold.

    Args:
        floor: where the search begins: below lies the bulk of the foreground, without evidence.
        peak: in [floor, 1). Maps reach 1 in every slice before the gate, so with ``gate: probability`` the volume's
            highest value is the highest probability of tumour of any slice: at 0.5 a case no slice of which is
            called positive gets no mask.

    Raises:
        ValueError: floor and peak are not in [0, 1) and in this order.
    """

    def __init__(self, floor: float = 0.05, peak: float = 0.5) -> None:
        if not 0 <= floor <= peak < 1:
            raise ValueError(
                f"threshold {self.name}: expected 0 <= floor <= peak < 1, got floor {floor} and peak {peak}"
            )
        self.floor, self.peak = float(floor), float(peak)

    def __call__(
        self, cam: np.ndarray, image: np.ndarray | None = None, foreground: np.ndarray | None = None
    ) -> float:
        inside = np.ones(cam.shape, dtype=bool) if foreground is None else np.asarray(foreground) > 0
        values = np.asarray(cam)[inside]
        if values.size == 0 or values.max() <= self.peak or values.min() == values.max():
            return EMPTY
        above = values[values > self.floor]
        if above.min() == above.max():
            return self.floor
        return float(self.divide(values, None if image is None else np.asarray(image)[:, inside]))

    @abstractmethod
    def divide(self, values: np.ndarray, intensities: np.ndarray | None) -> float:
        """The threshold of values (n,) that differ above the floor.

        Args:
            values: of the map inside the foreground.
            intensities: of the modalities there, (K, n); ``None`` if there is no image.
        """


class OtsuThreshold(DividingThreshold):
    """Divides the map's values so that they vary least within both parts (Otsu 1979, eq. 12; scikit-image)."""

    name = "otsu"

    def divide(self, values: np.ndarray, intensities: np.ndarray | None) -> float:
        return float(threshold_otsu(values[values > self.floor]))


class MixtureThreshold(DividingThreshold):
    """Where the upper of two Gaussians, fitted to the map's values, becomes the likelier one (scikit-learn).

    Deterministic: the values are ranked and evenly thinned out, and the fit starts from the means of both halves.
    If one Gaussian outweighs the other all the way between both means, the boundary is the mean at its far end.
    """

    name = "mixture"

    def divide(self, values: np.ndarray, intensities: np.ndarray | None) -> float:
        ranked = np.sort(values[values > self.floor]).astype(np.float64)
        if ranked.size > MOST_VALUES:
            ranked = ranked[np.linspace(0, ranked.size - 1, MOST_VALUES).astype(int)]
        low, high = np.array_split(ranked, 2)
        start = np.array([[low.mean()], [high.mean()]])
        mixture = GaussianMixture(2, means_init=start, random_state=0).fit(ranked[:, None])
        lower, upper = sorted(range(2), key=lambda component: mixture.means_[component, 0])
        between = np.linspace(mixture.means_[lower, 0], mixture.means_[upper, 0], 1001)
        likelier = mixture.predict_proba(between[:, None])[:, upper] > 0.5
        return float(between[int(likelier.argmax())] if likelier.any() else between[-1])


class IntensityVarianceThreshold(DividingThreshold):
    """Divides the foreground so that the *image* varies least within both parts, summed over all modalities.

    Otsu's criterion (1979, eq. 12) with the parts cut out by the map and the intensities taken from the scan: of all
    level sets of the map, the one that the image agrees with best. Modalities are z-scored, so that each counts alike.
    Thresholds tried lie 0.01 apart, from ``floor`` to below 1; of equal ones the lowest is taken. Where every modality
    is constant the image cannot tell, and the map gets `EMPTY`.

    Raises:
        ValueError: on use, if no image is given.
    """

    name = "variance"

    def divide(self, values: np.ndarray, intensities: np.ndarray | None) -> float:
        if intensities is None:
            raise ValueError(
                "threshold variance: expected the scan beside the map, found none; keep `image` in the items"
            )
        scores = z_scores(intensities)
        if not scores.any():
            return EMPTY
        tried = np.arange(self.floor, 0.995, 0.01)
        part = np.searchsorted(tried, values, side="left")  # number of thresholds below each value
        counts = _above(part, None, tried.size)
        sums = np.stack([_above(part, modality, tried.size) for modality in scores])
        rest = values.size - counts
        # Means over everything are 0, so the variance between the parts is sum^2 (1 / n_in + 1 / n_out).
        weight = np.divide(1.0, counts, where=counts > 0, out=np.zeros(tried.size))
        weight += np.divide(1.0, rest, where=rest > 0, out=np.zeros(tried.size))
        return float(tried[int((np.square(sums).sum(axis=0) * weight).argmax())])


def _above(part: np.ndarray, weights: np.ndarray | None, thresholds: int) -> np.ndarray:
    """Sum of the weights of what exceeds each threshold."""
    binned = np.bincount(part, weights=weights, minlength=thresholds + 1)
    return binned[::-1].cumsum()[::-1][1:]


RULES: dict[str, type[DividingThreshold]] = {
    rule.name: rule for rule in (OtsuThreshold, MixtureThreshold, IntensityVarianceThreshold)
}


def make_rule(threshold: Any) -> ThresholdRule:
    """The rule that a config or a command line means: a number, ``otsu``, ``mixture``, ``variance``, or a rule itself.

    Raises:
        ValueError: for another name, or a number outside [0, 1).
    """
    if isinstance(threshold, ThresholdRule):
        return threshold
    if isinstance(threshold, str):
        if threshold not in RULES:
            raise ValueError(
                f"threshold: expected a number in [0, 1) or the name of a rule, got {threshold!r}; "
                f"{nearest_name(threshold, RULES)}"
            )
        return RULES[threshold]()
    return FixedThreshold(threshold)
