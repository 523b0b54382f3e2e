"""The map's boundary moved to where the image has one."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.segmentation import random_walker

from bundle.refinement.by_image import CaseArrays, ImageRefinement
from bundle.refinement.cores import BOUNDARY, holding, surroundings, widened_box
from bundle.refinement.intensities import z_scores
from bundle.refinement.masks import ALL_NEIGHBOURS
from bundle.refinement.thresholds import ThresholdRule, make_rule

# Of conjugate gradients. On large noisy scans scikit-image's ties span ten decades and some probabilities leave [0, 1]
# whatever the tolerance. They are clipped: in one scan of 240 x 240 x 155, 1 % of the band's voxels changed sides.
TOLERANCE = 1e-5
TOLERATED = 10.0  # outside [0, 1], before scikit-image warns
INACTIVE, UNKNOWN, LESION, REST = -1, 0, 1, 2  # labels of scikit-image's random walker


class RandomWalkd(ImageRefinement):
    """Random walk on intensity affinities (Grady 2006; scikit-image) in a band around the fused map's boundary.

    Voxels farther than ``band_mm`` from the boundary keep their side. Between them a walker that starts in the band and
    crosses intensity edges reluctantly, in all modalities at once, tells which side it reaches first. Of a component
    that is too thin to have a core that deep, the inner half of its depth stays; so no component vanishes, and none
    appears. Only the band's box is looked at.

    Neighbours i and j are tied by ``exp(-beta mean_k w_k ((z_ik - z_jk) / d_ij)^2)``, with z the z-scores of modality k
    in the foreground, d their distance in mm, and w the branches' ``trust`` (K,), scaled to a mean of 1, where the case
    has one: edges that trusted modalities show decide. (Grady has one channel in [0, 1]; scikit-image divides by the
    data's standard deviation, which would tie the meaning of ``beta`` to the box.)

    Reads and writes what :class:`bundle.refinement.by_image.ImageRefinement` says; nobody walks outside the
    foreground. The last map is then the probability in [0, 1] that the lesion is reached first: 1 in the core, 0 far
    away. A map whose mask is empty or is all of the foreground stays as it is, and so does one whose image is constant.

    Args:
        band_mm: half the width of the band: how far off the map's boundary may be.
        beta: reluctance to cross edges; a step of 0.2 per mm in every modality makes a tie weaker by exp(-4) at 100. On
            blurred validation masks of the phantom 60 to 200 were about as good; at 400 noise walls walkers in.
        threshold: cuts the map to find the boundary; as of :class:`bundle.refinement.MaskMapsd`. A rule sees only what
            lies within ``around_mm`` of where the map exceeds 0.5, so that it weighs the lesion against what surrounds
            it, not against the rest of the head. A component of the cut map that nowhere exceeds 0.5 is left out.
        around_mm: see `threshold`.
        peak: as of :class:`bundle.refinement.by_image.ImageRefinement`.

    Raises:
        ValueError: for a band or surroundings without width, a beta below 0, a peak below 0.5 or not below 1, or a case
            without image; it names the case.
    """

    def __init__(
        self,
        band_mm: float = 6.0,
        beta: float = 100.0,
        threshold: float | str | ThresholdRule = 0.5,
        around_mm: float = 20.0,
        peak: float = BOUNDARY,
    ) -> None:
        super().__init__(around_mm, peak)
        if not band_mm > 0 or not beta >= 0:
            raise ValueError(
                f"RandomWalkd: expected band_mm > 0 and beta >= 0, got {band_mm} and {beta}; set `refine` to null for "
                "no refinement"
            )
        self.band_mm, self.beta, self.threshold = float(band_mm), float(beta), make_rule(threshold)

    @property
    def step(self) -> str:
        return f"fused map cut at {self.threshold.shown} and walked by the image within {self.band_mm:g} mm"

    def refined(self, case: CaseArrays) -> np.ndarray:
        fused, inside = case.fused, case.inside
        box, near = surroundings(case.core, self.around_mm, case.spacing_mm)
        level = self.threshold(fused[box], case.image[(slice(None), *box)], near & inside[box])
        mask = holding((fused > level) & inside, case.core)
        scores = z_scores(case.image[:, inside])
        shown = np.asarray(scores.any(axis=1))  # what shows nothing has no say, nor what a case lacks
        if not mask.any() or mask[inside].all() or not shown.any():
            return fused
        scores = scores[shown] * np.sqrt(_weights(case.trust, shown))[:, None]
        return self._walk(mask, scores, inside, case.spacing_mm)

    def _walk(
        self, mask: np.ndarray, scores: np.ndarray, inside: np.ndarray, spacing: np.ndarray
    ) -> np.ndarray:
        """Probability of the lesion, float32 (X, Y, Z), from the z-scores inside the foreground, (K, n)."""
        box = widened_box(mask, self.band_mm + spacing, spacing)
        labels = self._labels(mask[box], inside[box], spacing)
        walked = np.zeros(mask.shape, dtype=np.float32)
        walked[box] = labels == LESION
        active = _touching(labels == UNKNOWN)
        band = labels == UNKNOWN
        labels[~active] = INACTIVE  # seeds that no walker meets
        if not (labels == LESION).any() or not (labels == REST).any() or not band.any():
            return mask.astype(np.float32)
        data = np.zeros((*labels.shape, len(scores)))
        for channel, values in enumerate(scores):
            whole = np.zeros(mask.shape)
            whole[inside] = values
            data[..., channel] = whole[box]
        beta = 10 * self.beta * data.std() / np.sqrt(len(scores))  # undoes scikit-image's own scaling
        found = random_walker(
            data,
            labels,
            beta,
            "cg_j",
            TOLERANCE,
            return_full_prob=True,
            spacing=spacing,
            prob_tol=TOLERATED,
            channel_axis=-1,
        )
        walked[box][band] = np.clip(found[0][band], 0.0, 1.0)
        return walked

    def _labels(self, mask: np.ndarray, inside: np.ndarray, spacing: np.ndarray) -> np.ndarray:
        """Seeds and the band between them."""
        depth = ndimage.distance_transform_edt(mask, sampling=spacing)
        away = ndimage.distance_transform_edt(~mask, sampling=spacing)
        components, number = ndimage.label(mask, ndimage.generate_binary_structure(3, ALL_NEIGHBOURS))
        deepest = np.asarray(ndimage.maximum(depth, components, np.arange(number + 1)))
        core = mask & (depth > np.minimum(self.band_mm, deepest / 2)[components])
        labels = np.full(mask.shape, UNKNOWN, dtype=np.int8)
        labels[core] = LESION
        labels[~mask & (away > self.band_mm)] = REST
        labels[~inside] = INACTIVE
        return labels


def _weights(trust: np.ndarray | None, shown: np.ndarray) -> np.ndarray:
    """Of each modality that is shown, with a mean of 1; all alike where branches are no modalities (early fusion)."""
    weights = np.ones(np.count_nonzero(shown))
    if trust is not None and len(trust) == len(shown):
        given = trust[shown]
        weights = given if given.any() else weights
    return weights / weights.mean()


def _touching(band: np.ndarray) -> np.ndarray:
    """The band and the voxels that share a face with it."""
    return ndimage.binary_dilation(band)
