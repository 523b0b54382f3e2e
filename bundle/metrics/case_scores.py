"""Score one case: a row for every modality's map and for the fused one."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bundle.metrics.assd import average_surface_distance_mm
from bundle.metrics.counts import count_overlap
from bundle.metrics.dice import dice_score
from bundle.metrics.ratios import over_ratio, under_ratio
from bundle.metrics.threshold_sweep import THRESHOLDS, dice_over_thresholds

FUSED = "fused"


@dataclass(frozen=True)
class CaseRow:
    """The scores of one map of one case. What is undefined is nan; see `report.EMPTY_POLICY`.

    Args:
        case: case id.
        map: modality, or ``fused``.
        dice: Dice of the whole volume, a fraction.
        assd_mm: average symmetric surface distance.
        under_ratio: FN / TP.
        over_ratio: FP / TP.
        dice_positive_slices: Dice over the slices (third axis) that hold truth, pooled; a fraction.
        truth_ml: volume of the truth.
        prediction_ml: volume of the prediction.
        empty_truth: whether the truth is empty (a healthy case); ``None`` if the case has no truth mask.
        empty_prediction: whether the prediction is empty.
    """

    case: str
    map: str
    dice: float
    assd_mm: float
    under_ratio: float
    over_ratio: float
    dice_positive_slices: float
    truth_ml: float
    prediction_ml: float
    empty_truth: bool | None
    empty_prediction: bool


@dataclass(frozen=True)
class CaseScores:
    """All rows of a case and its curves: small numbers only, so any number of cases can be kept.

    Args:
        case: case id.
        rows: one row a map, ``fused`` last.
        curves: Dice over the thresholds (maps, thresholds), fractions; nan where the case has no lesion or
            no mask.
    """

    case: str
    rows: tuple[CaseRow, ...]
    curves: np.ndarray

    @property
    def fused(self) -> CaseRow:
        """The row of the fused map."""
        return self.rows[-1]


def score_case(
    case: str,
    cams: np.ndarray,
    masks: np.ndarray,
    truth: np.ndarray | None,
    *,
    names: Sequence[str],
    spacing_mm: Sequence[float],
    thresholds: Sequence[float] = THRESHOLDS,
) -> CaseScores:
    """Score all maps of one case on the scan's own grid, over the whole volume.

    Args:
        case: case id, for the rows and for errors.
        cams: maps (N + 1, X, Y, Z) in [0, 1], the fused one last; the curve is made of them.
        masks: what was made of each map, (N + 1, X, Y, Z), positive where above 0.
        truth: true mask (X, Y, Z), positive where above 0; ``None`` if there is none.
        names: name of each map, ``fused`` last.
        spacing_mm: distance of neighbouring voxels along each axis.
        thresholds: those of the curve.

    Raises:
        ValueError: if shapes and names do not fit together, or a map leaves [0, 1].
    """
    check_maps(case, cams, masks, truth, names)
    positive = None if truth is None else np.asarray(truth) > 0
    voxel_ml = math.prod(float(value) for value in spacing_mm) / 1000.0

    def score_map(name: str, cam: np.ndarray, mask: np.ndarray) -> tuple[CaseRow, np.ndarray]:
        row = _make_row(case, name, np.asarray(mask) > 0, positive, spacing_mm, voxel_ml)
        if positive is None or row.empty_truth:
            return row, np.full(len(thresholds), math.nan)
        return row, dice_over_thresholds(cam, positive, thresholds)

    # Nearest-neighbour queries and array passes release the interpreter lock, so threads share the maps out.
    with ThreadPoolExecutor(max_workers=min(len(names), os.cpu_count() or 1)) as pool:
        rows, curves = zip(*pool.map(score_map, names, cams, masks), strict=True)
    return CaseScores(case, tuple(rows), np.stack(curves))


def check_maps(
    case: str, cams: np.ndarray, masks: np.ndarray, truth: np.ndarray | None, names: Sequence[str]
) -> None:
    """Refuse maps and masks whose shape, names or values do not fit; errors as in `score_case`."""
    if cams.ndim != 4 or len(cams) != len(names):
        raise ValueError(
            f"case {case}: expected {len(names)} maps ({', '.join(names)}) of shape (X, Y, Z), found "
            f"an array of shape {cams.shape}; `names` must be the modalities and {FUSED}"
        )
    if list(names)[-1:] != [FUSED]:
        raise ValueError(f"case {case}: the last of the maps must be {FUSED}, found {list(names)}; append it")
    if masks.shape != cams.shape:
        raise ValueError(
            f"case {case}: expected a mask of each map, {cams.shape}, found {masks.shape}; make them by "
            "bundle.refinement.MaskMapsd on the maps' grid"
        )
    if truth is not None and truth.shape != cams.shape[1:]:
        raise ValueError(
            f"case {case}: the mask must lie on the maps' grid {cams.shape[1:]}, found {truth.shape}; "
            "restore the maps to the scan's own grid, and give the mask without a channel axis"
        )
    if not np.issubdtype(cams.dtype, np.floating):
        raise ValueError(f"case {case}: maps must be floating-point numbers in [0, 1], found {cams.dtype}")
    for name, cam in zip(names, cams, strict=True):
        low, high = float(cam.min()), float(cam.max())
        if not (low >= 0.0 and high <= 1.0):  # written so that nan fails, too
            raise ValueError(
                f"case {case}: map {name} must lie in [0, 1], found [{low}, {high}]; "
                "pass the normalised map, not the evidence"
            )


def _make_row(
    case: str,
    name: str,
    prediction: np.ndarray,
    truth: np.ndarray | None,
    spacing_mm: Sequence[float],
    voxel_ml: float,
) -> CaseRow:
    if truth is None:
        volume = int(np.count_nonzero(prediction))
        nan = math.nan
        return CaseRow(case, name, nan, nan, nan, nan, nan, nan, volume * voxel_ml, None, volume == 0)
    counts = count_overlap(prediction, truth)
    slices = truth.any(axis=(0, 1))
    in_slices = count_overlap(prediction[..., slices], truth[..., slices])
    return CaseRow(
        case=case,
        map=name,
        dice=dice_score(counts),
        assd_mm=average_surface_distance_mm(prediction, truth, spacing_mm),
        under_ratio=under_ratio(counts),
        over_ratio=over_ratio(counts),
        dice_positive_slices=dice_score(in_slices) if slices.any() else math.nan,
        truth_ml=counts.truth * voxel_ml,
        prediction_ml=counts.prediction * voxel_ml,
        empty_truth=counts.truth == 0,
        empty_prediction=counts.prediction == 0,
    )
