"""The map's boundary moved to where the image's intensities change kind."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.linalg import solve_triangular
from scipy.special import expit, logit

from bundle.inferers.fusion import SURE
from bundle.refinement.by_image import CaseArrays, ImageRefinement
from bundle.refinement.cores import BOUNDARY, holding, surroundings
from bundle.refinement.intensities import z_scores
from bundle.refinement.masks import without_small

ROUNDS = 15  # of expectation and maximisation; on phantoms 10 and 30 moved mean Dice by up to 0.5 (docs/decisions/0020)
OUTLIER = 2.0  # most log odds that one voxel's intensities give either side: it is little evidence
REGULARISED = 0.02  # added to the variances of z-scores, so that a kind without spread is no needle
FEWEST = 20  # voxels on either side of the map's boundary that intensities are learnt from
VARIES = 1e-6  # least standard deviation of a modality that shows anything, in z-scores
TRUNCATE = 3.0  # standard deviations after which a neighbourhood ends


class MarkovFieldd(ImageRefinement):
    """Lesion or not, voxel by voxel, from the fused map, the scan's intensities and the neighbours (HMRF-EM).

    A hidden Markov random field as FAST segments tissue with (Zhang, Brady and Smith 2001), for two kinds: the lesion
    is one Gaussian of the modalities' z-scores, what lies within ``around_mm`` of it is a mixture of two. Expectation
    and maximisation learn them from this scan alone, starting from the map. The log odds of a voxel are the sum of

    - ``map_weight`` times the map's own. It is below 1 since a network's evidence in neighbouring voxels is not
      independent: they are looked at together;
    - the intensities' log likelihood ratio, at most 2 either way;
    - ``coupling`` times the mean of ``2 p - 1`` around the voxel, p the probability of lesion, with a Gaussian of
      standard deviation ``reach_mm`` (the mean-field equations of a field in which neighbours agree).

    All modalities count alike, whatever their branches' trust: one that does not tell the two kinds apart has a ratio
    near 1. Reads and writes what :class:`bundle.refinement.by_image.ImageRefinement` says. The last map is then the
    probability of lesion in [0, 1], 0 beyond ``around_mm``; components that hold nothing of what the map was sure of
    are held at 0.5. What is small against a neighbourhood would be outvoted by it, so components of the map below a
    ball's volume of ``2 reach_mm`` in radius (0.9 ml) may grow and not shrink. Within ``around_mm`` the map keeps its
    values where the image is constant or too little is left to learn from. The softer the map, the farther a border
    moves: what a map is sure of is not outvoted by intensities.

    Args:
        map_weight: see above; 0 leaves all to the image.
        coupling: log odds that neighbours of one kind add.
        reach_mm: how far neighbours reach, as standard deviation.
        around_mm: how far around the map above 0.5 a lesion may reach, and what it is compared with.
        peak: as of :class:`bundle.refinement.by_image.ImageRefinement`.

    Raises:
        ValueError: for a negative or infinite weight, a coupling outside [0, 10], no reach or surroundings, a peak
            below 0.5 or not below 1, or what :class:`bundle.refinement.by_image.ImageRefinement` refuses.
    """

    def __init__(
        self,
        map_weight: float = 0.3,
        coupling: float = 3.0,
        reach_mm: float = 3.0,
        around_mm: float = 20.0,
        peak: float = BOUNDARY,
    ) -> None:
        super().__init__(around_mm, peak)
        if not 0 <= map_weight < np.inf or not 0 <= coupling <= 10 or not 0 < reach_mm < np.inf:
            raise ValueError(
                f"MarkovFieldd: expected map_weight >= 0, coupling from 0 to 10 and reach_mm > 0, got {map_weight}, "
                f"{coupling} and {reach_mm}; set `refine` to null for no refinement"
            )
        self.map_weight, self.coupling, self.reach_mm = float(map_weight), float(coupling), float(reach_mm)

    @property
    def step(self) -> str:
        return f"fused map's border found anew by the intensities within {self.around_mm:g} mm"

    def refined(self, case: CaseArrays) -> np.ndarray:
        fused, core = case.fused, case.core
        box, near = surroundings(core, self.around_mm, case.spacing_mm)
        near &= case.inside[box]
        looked_at = np.zeros(fused.shape, dtype=bool)
        looked_at[box] = near
        scores = z_scores(case.image[:, looked_at])
        lesion = np.zeros(fused.shape, dtype=np.float32)
        lesion[looked_at] = self._field(fused[looked_at].astype(np.float64), scores, near, case.spacing_mm)
        found = lesion > BOUNDARY
        lesion[found & ~holding(found, core)] = BOUNDARY
        ball_mm3 = 4 / 3 * np.pi * (2 * self.reach_mm) ** 3
        small = core & ~without_small(core, ball_mm3, case.spacing_mm)
        lesion[small] = np.maximum(lesion, fused)[small]
        return lesion

    def _field(
        self, before: np.ndarray, scores: np.ndarray, near: np.ndarray, spacing: np.ndarray
    ) -> np.ndarray:
        """Probability of lesion (n,) of the voxels near, from the map's (n,) and the modalities' z-scores (K, n)."""
        lesion = before.clip(SURE, 1 - SURE)
        scores = scores[scores.std(axis=1) > VARIES]
        above = np.count_nonzero(before > BOUNDARY)
        if min(above, before.size - above) < FEWEST or not len(scores):
            return before
        by_map = self.map_weight * logit(lesion)
        width = self.reach_mm / spacing
        volume = near.astype(np.float64)
        reached = ndimage.gaussian_filter(volume, width, truncate=TRUNCATE)[near]  # below 1 at the edge
        rest = _halves(scores, 1 - lesion)
        for _ in range(ROUNDS):
            kinds = (1 - lesion) * rest
            shares = kinds.sum(axis=1) / kinds.sum()
            of_rest = np.log(shares)[:, None] + np.stack([_log_density(scores, kind) for kind in kinds])
            either = np.logaddexp.reduce(of_rest, axis=0)
            by_image = (_log_density(scores, lesion) - either).clip(-OUTLIER, OUTLIER)
            rest = np.exp(of_rest - either)
            volume[near] = 2 * lesion - 1
            by_neighbours = ndimage.gaussian_filter(volume, width, truncate=TRUNCATE)[near] / reached
            lesion = expit(by_map + by_image + self.coupling * by_neighbours)
        return lesion


def _halves(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Voxels (K, n) in two halves along the direction in which they differ most, bool (2, n)."""
    mean, covariance = _moments(scores, weights)
    along = np.linalg.eigh(covariance)[1][:, -1] @ (scores - mean[:, None])
    return np.stack([along < 0, along >= 0])


def _moments(scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean (K,) and covariance (K, K) of z-scores (K, n)."""
    weights = weights / weights.sum()
    mean = scores @ weights
    centred = scores - mean[:, None]
    return mean, (centred * weights) @ centred.T + REGULARISED * np.eye(len(scores))


def _log_density(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of the Gaussian that weighted voxels (K, n) have, at each of them, (n,), but for a constant."""
    mean, covariance = _moments(scores, weights)
    root = np.linalg.cholesky(covariance)
    whitened = solve_triangular(root, scores - mean[:, None], lower=True)
    return -0.5 * np.square(whitened).sum(axis=0) - np.log(np.diag(root)).sum()
