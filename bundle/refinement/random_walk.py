"""The map's boundary moved to where the image has one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform
from scipy import ndimage
from skimage.segmentation import random_walker

from bundle.refinement.intensities import z_scores
from bundle.refinement.masks import ALL_NEIGHBOURS, bounding_box
from bundle.refinement.thresholds import ThresholdRule, make_rule

# Of conjugate gradients. On large noisy scans scikit-image's ties span ten decades and some probabilities leave [0, 1]
# whatever the tolerance. They are clipped: in one scan of 240 x 240 x 155, 1 % of the band's voxels changed sides.
TOLERANCE = 1e-5
TOLERATED = 10.0  # outside [0, 1], before scikit-image warns
BOUNDARY = 0.5  # of the maps, which the walk keeps
INACTIVE, UNKNOWN, LESION, REST = -1, 0, 1, 2  # labels of scikit-image's random walker


class RandomWalkd(Transform):
    """Random walk on intensity affinities (Grady 2006; scikit-image) in a band around the fused map's boundary.

    Voxels farther than ``band_mm`` from the boundary keep their side. Between them a walker that starts in the band and
    crosses intensity edges reluctantly, in all modalities at once, tells which side it reaches first. Of a component
    that is too thin to have a core that deep, the inner half of its depth stays; so no component vanishes, and none
    appears. Only the band's box is looked at.

    Neighbours i and j are tied by ``exp(-beta mean_k w_k ((z_ik - z_jk) / d_ij)^2)``, with z the z-scores of modality k
    in the foreground, d their distance in mm, and w the branches' ``trust`` (K,), scaled to a mean of 1, where the case
    has one: edges that trusted modalities show decide. (Grady has one channel in [0, 1]; scikit-image divides by the
    data's standard deviation, which would tie the meaning of ``beta`` to the box.)

    Reads ``cams`` (M, X, Y, Z), ``image`` (K, X, Y, Z), ``spacing_mm`` and, where it is there, ``foreground``
    (1, X, Y, Z), beyond which nobody walks. Writes ``cams``, the last map now the probability in [0, 1] that the lesion
    is reached first: 1 in the core, 0 far away. Its boundary is at 0.5, so leave `threshold` of the masks there. A map
    whose mask is empty or is all of the foreground stays as it is, and so does one whose image is constant. Adds a line
    to ``map_steps``, what reports say was done to the maps.

    Args:
        band_mm: half the width of the band: how far off the map's boundary may be.
        beta: reluctance to cross edges; a step of 0.2 per mm in every modality makes a tie weaker by exp(-4) at 100. On
            blurred validation masks of the phantom 60 to 200 were about as good; at 400 noise walls walkers in.
        threshold: cuts the map to find the boundary; as of :class:`bundle.refinement.MaskMapsd`. A rule sees only what
            lies within ``around_mm`` of where the map exceeds 0.5, so that it weighs the lesion against what surrounds
            it, not against the rest of the head. A component of the cut map that nowhere exceeds 0.5 is left out.
        around_mm: see `threshold`.
        peak: what a component of the map above 0.5 must exceed somewhere to count: a lesion is sure somewhere. Where
            none does, the map is held at 0.5, so that its mask is empty.

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
        if not band_mm > 0 or not beta >= 0 or not around_mm > 0:
            raise ValueError(
                f"RandomWalkd: expected band_mm > 0, beta >= 0 and around_mm > 0, got {band_mm}, {beta} and "
                f"{around_mm}; set `refine` to null for no refinement"
            )
        if not BOUNDARY <= peak < 1:
            raise ValueError(
                f"RandomWalkd: expected a peak from {BOUNDARY} to below 1, got {peak}; {BOUNDARY} keeps every component"
            )
        self.peak = float(peak)
        self.band_mm, self.beta, self.threshold = float(band_mm), float(beta), make_rule(threshold)
        self.around_mm = float(around_mm)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if d.get("image") is None:
            raise ValueError(
                f"case {d.get('case', 'without a name')}: a random walk needs the scan under `image`, found none; "
                "keep it in the items"
            )
        cams = torch.as_tensor(d["cams"])
        fused, image = cams[-1].cpu().numpy(), torch.as_tensor(d["image"]).cpu().numpy()
        inside = np.ones(fused.shape, dtype=bool)
        if d.get("foreground") is not None:
            inside = torch.as_tensor(d["foreground"])[0].cpu().numpy() > 0
        step = f"fused map cut at {self.threshold.shown} and walked by the image within {self.band_mm:g} mm"
        sure = () if self.peak == BOUNDARY else (f"fused map's components below {self.peak:g} left out",)
        d["map_steps"] = (*d.get("map_steps", ()), *sure, step)
        core = self._core(fused, inside)
        if not core.any():
            d["cams"] = torch.cat([cams[:-1], cams[-1:].clamp(max=BOUNDARY)])
            return d
        mask = self._mask(fused, image, inside, core, d["spacing_mm"])
        scores = z_scores(image[:, inside])
        shown = np.asarray(
            scores.any(axis=1)
        )  # a modality that shows nothing has no say, nor that a case lacks
        if mask.any() and not mask[inside].all() and shown.any():
            scores = scores[shown] * np.sqrt(_weights(d.get("trust"), shown))[:, None]
            refined = self._walk(mask, scores, inside, d["spacing_mm"])
            d["cams"] = torch.cat([cams[:-1], torch.from_numpy(refined).to(cams)[None]])
        return d

    def _core(self, fused: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Where the map exceeds 0.5, in components that somewhere exceed the peak."""
        above = (fused > BOUNDARY) & inside
        if self.peak == BOUNDARY or not above.any():
            return above
        return _holding(above, fused > self.peak)

    def _mask(
        self,
        fused: np.ndarray,
        image: np.ndarray,
        inside: np.ndarray,
        core: np.ndarray,
        spacing_mm: Sequence[float],
    ) -> np.ndarray:
        """The map above its threshold, where that is the lesion's surroundings and not a hint elsewhere."""
        mask = (fused > self._cut(fused, image, inside, core, spacing_mm)) & inside
        return _holding(mask, core)

    def _cut(
        self,
        fused: np.ndarray,
        image: np.ndarray,
        inside: np.ndarray,
        core: np.ndarray,
        spacing_mm: Sequence[float],
    ) -> float:
        """Threshold of the map by what surrounds the lesion."""
        spacing = np.asarray([float(value) for value in spacing_mm])
        margin = np.ceil(self.around_mm / spacing).astype(int)
        box = tuple(
            slice(max(0, side.start - more), side.stop + more)
            for side, more in zip(bounding_box(core), margin, strict=True)
        )
        away = ndimage.distance_transform_edt(~core[box], sampling=spacing)
        return self.threshold(fused[box], image[(slice(None), *box)], inside[box] & (away <= self.around_mm))

    def _walk(
        self, mask: np.ndarray, scores: np.ndarray, inside: np.ndarray, spacing_mm: Sequence[float]
    ) -> np.ndarray:
        """Probability of the lesion, float32 (X, Y, Z), from the z-scores inside the foreground, (K, n)."""
        spacing = np.asarray([float(value) for value in spacing_mm])
        margin = np.ceil(self.band_mm / spacing).astype(int) + 1
        box = tuple(
            slice(max(0, side.start - more), side.stop + more)
            for side, more in zip(bounding_box(mask), margin, strict=True)
        )
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


def _weights(trust: torch.Tensor | None, shown: np.ndarray) -> np.ndarray:
    """Of each modality that is shown, with a mean of 1; all alike where branches are no modalities (early fusion)."""
    weights = np.ones(np.count_nonzero(shown))
    if trust is not None and len(trust) == len(shown):
        given = torch.as_tensor(trust).double().cpu().numpy()[shown]
        weights = given if given.any() else weights
    return weights / weights.mean()


def _holding(mask: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Those components of a mask that hold a wanted voxel."""
    components, _ = ndimage.label(mask, ndimage.generate_binary_structure(3, ALL_NEIGHBOURS))
    return mask & np.isin(components, np.unique(components[mask & wanted]))


def _touching(band: np.ndarray) -> np.ndarray:
    """The band and the voxels that share a face with it."""
    return ndimage.binary_dilation(band)
