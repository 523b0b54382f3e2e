"""The one place that turns maps into masks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import FillHoles, RemoveSmallObjects, Transform

from bundle.metrics import MaskRule
from bundle.refinement.thresholds import ThresholdRule, make_rule

ALL_NEIGHBOURS, FACES = 3, 1  # connectivities in three dimensions: 26 and 6 neighbours


class MaskMapsd(Transform):
    """Masks of all maps of a case, on the scan's own grid: threshold, then small components out, then holes filled.

    Reads ``cams`` (M, X, Y, Z) in [0, 1] and, where there are any, ``image`` (K, X, Y, Z) and ``foreground``
    (1, X, Y, Z); ``spacing_mm`` as well if volumes count. Writes ``masks`` (M, X, Y, Z), uint8, and ``thresholds``,
    the number that each map was cut at. Everything that saves, scores or draws takes these masks.

    Components hold together across corners (26 neighbours), so that few are small; holes leak through faces alone (6),
    so that what a mask encloses in three dimensions is filled and a cavity open on one side is not. Both come from
    MONAI and see the mask's bounding box only.

    Args:
        threshold: number in [0, 1), or a rule that finds one for each map of each case without masks: ``otsu``,
            ``mixture``, ``variance``, or a :class:`bundle.refinement.ThresholdRule`.
        min_volume_mm3: smaller components go; 0 keeps all.
        fill_holes: whether holes are filled.

    Raises:
        ValueError: for an unknown rule, a number outside [0, 1), a negative volume, or a rule that wants the image
            where there is none; it names the case.
    """

    def __init__(
        self,
        threshold: float | str | ThresholdRule = 0.5,
        min_volume_mm3: float = 0.0,
        fill_holes: bool = False,
    ) -> None:
        if not min_volume_mm3 >= 0:
            raise ValueError(
                f"min_volume_mm3: expected at least 0, got {min_volume_mm3}; 0 keeps every component"
            )
        self.threshold = make_rule(threshold)
        self.min_volume_mm3, self.fill_holes = float(min_volume_mm3), bool(fill_holes)

    @property
    def rule(self) -> MaskRule:
        """How the masks are made, for reports."""
        steps = []
        if self.min_volume_mm3 > 0:
            steps.append(f"components below {self.min_volume_mm3:g} mm3 removed")
        if self.fill_holes:
            steps.append("holes filled")
        return MaskRule(self.threshold.shown, tuple(steps))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        cams = torch.as_tensor(d["cams"]).cpu().numpy()
        image, foreground = (_array(d.get(key)) for key in ("image", "foreground"))
        inside = None if foreground is None else foreground[0] > 0
        try:
            found = [self.threshold(cam, image, inside) for cam in cams]
        except ValueError as error:
            raise ValueError(f"case {d.get('case', 'without a name')}: {error}") from None
        masks = np.stack([cam > threshold for cam, threshold in zip(cams, found, strict=True)])
        if self.min_volume_mm3 > 0 or self.fill_holes:
            for mask in masks:
                self._tidy(mask, d["spacing_mm"])
        d["masks"], d["thresholds"] = torch.from_numpy(masks.view(np.uint8)), tuple(found)
        return d

    def _tidy(self, mask: np.ndarray, spacing_mm: Sequence[float]) -> None:
        """Change one mask (X, Y, Z), bool, in place."""
        if not mask.any():
            return
        box = mask[bounding_box(mask)]
        part = box.astype(np.uint8)[None]
        if self.min_volume_mm3 > 0:
            part = without_small(part[0] > 0, self.min_volume_mm3, spacing_mm).astype(np.uint8)[None]
        if self.fill_holes:
            part = np.asarray(FillHoles(connectivity=FACES)(part))
        box[:] = part[0] > 0


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Smallest box that holds a mask with at least one voxel."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        held = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(held[0]), int(held[-1]) + 1))
    return tuple(box)


def without_small(
    mask: np.ndarray, volume_mm3: float, spacing_mm: Sequence[float] | np.ndarray
) -> np.ndarray:
    """A mask (X, Y, Z), bool, without its components below some mm3, which hold together across corners."""
    # A mask of one value MONAI leaves as it is, however small: the box of a mask that is a box.
    if mask.all():
        return mask if mask.size * np.prod(spacing_mm) >= volume_mm3 else np.zeros_like(mask)
    small = RemoveSmallObjects(
        volume_mm3,  # type: ignore[arg-type]  # a volume, by_measure
        connectivity=ALL_NEIGHBOURS,
        by_measure=True,
        pixdim=[float(value) for value in spacing_mm],
    )
    return np.asarray(small(mask.astype(np.uint8)[None]))[0] > 0


def _array(value: Any) -> np.ndarray | None:
    return None if value is None else torch.as_tensor(value).cpu().numpy()
