"""One training of a comparison: what it is, what it is called, and what came out of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundle.metrics.case_scores import CaseRow

PLAIN: dict[str, Any] = {  # the masks are the map above its threshold
    "smooth_slices_mm": 0.0,
    "refine": None,
    "min_volume_mm3": 0.0,
    "fill_holes": False,
}


def random_walk(
    threshold: str = "bundle.refinement.IntensityVarianceThreshold(floor=0.4)", peak: float = 0.5
) -> str:
    """Value of `refine`: the walk by which recipes before the present default found the border anew.

    Args:
        threshold: of the map, where the walk starts; as Python.
        peak: as of :class:`bundle.refinement.RandomWalkd`.
    """
    return f"$bundle.refinement.RandomWalkd(threshold={threshold}, peak={peak})"


READOUTS: dict[str, dict[str, Any]] = {  # short name to options of an evaluation
    "cam": {},  # the method's own map
    "gradcampp": {"method": "bundle.inferers.GradCamPlusPlusInferer"},
    "gated": {**PLAIN, "gate": "probability", "fusion": "maximum"},
    "plain": PLAIN,
    "smooth": {name: PLAIN[name] for name in ("refine", "min_volume_mm3", "fill_holes")},
    "walk": {
        "refine": random_walk("0.5"),
        **{name: PLAIN[name] for name in ("min_volume_mm3", "fill_holes")},
    },
    "cut": {name: PLAIN[name] for name in ("min_volume_mm3", "fill_holes")},
    **{name: {"refine": random_walk(repr(name))} for name in ("otsu", "mixture", "variance")},
    **{name: {"fusion": name} for name in ("maximum", "mean", "weighted")},
    "flip": {"average_views": "flip"},
    "cam_stage": {},  # of a chain: what its CAM stage alone gives
}
READING_IDS = ("refine",)  # of a run's options, what training has no place for
PAPER_READOUTS = ("cam", "gradcampp")
PROPOSED = "proposed"  # the recipe itself: ER, KD and CMER, or what else it has
CHAIN = "chain"  # no method but all stages: tags, CAMs, masks, segmenter
MASK_SEGMENTER = "selftrain_masks"  # the chain's segmenter, trained on masks
INTENSITY = "intensity"  # a threshold on the images; its option `rule` is a key of `intensity_baseline.RULES`


@dataclass(frozen=True, order=True)
class RunSpec:
    """What a training is, but for its seed and fold.

    Args:
        method: name of a ``configs/method_*.yaml`` without prefix and suffix, such as ``er_scale``; `PROPOSED`
            for the recipe as it is; `CHAIN`, `MASK_SEGMENTER` or `INTENSITY`.
        modalities: which, in the order of the branches.
        network: name of a ``configs/network_*.yaml``; empty for the recipe's own.
        early_fusion: the modalities as channels of one branch.
        base: key of `scales.RECIPES` that the method is merged over; empty for the comparison's own.
        options: config ids and values, which win over all else. An id that evaluation has, too, holds in both.
        label: says what the options are about, for the name.
        readouts: keys of `READOUTS`, the method's own map first; none for those of the paper.
    """

    method: str
    modalities: tuple[str, ...]
    network: str = ""
    early_fusion: bool = False
    base: str = ""
    options: tuple[tuple[str, Any], ...] = ()
    label: str = ""
    readouts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Readable and fit for a folder, such as ``er_scale_t1-t2``."""
        early = "early" if self.early_fusion else ""
        parts = (self.method, "-".join(self.modalities), self.network, early, self.base, self.label)
        return "_".join(part for part in parts if part)


@dataclass(frozen=True)
class Run:
    """One training with its evaluations.

    Args:
        spec: what is trained.
        seed: of the training.
        fold: of the data, or ``None``.
        overlays: names of the configs that are merged over the complete ones.
        training: options of the training, by config id.
        evaluation: options of each evaluation.
        readouts: short name to options of its own; the first is the method's own map.
        identity: hash of the merged configs and of the data.
        config: the merged training config.
        reading: the merged evaluation config.
        kind: name of the complete config it trains by, `CHAIN` or `INTENSITY`.
        reading_overlays: of the evaluation, where they are others.
    """

    spec: RunSpec
    seed: int
    fold: int | None
    overlays: tuple[str, ...]
    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    readouts: Mapping[str, Mapping[str, Any]]
    identity: str
    config: Mapping[str, Any]
    reading: Mapping[str, Any]
    kind: str = "train"
    reading_overlays: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """Unique and readable; the name of its folder."""
        fold = "" if self.fold is None else f"_fold{self.fold}"
        return f"{self.spec.name}_seed{self.seed}{fold}_{self.identity}"

    @property
    def cost(self) -> float:
        """Expected length relative to other runs: branches and views."""
        branches = 1 if self.spec.early_fusion else len(self.spec.modalities)
        views = 1 if self.config.get("warps") is None else 2
        return (3.0 if self.spec.network.startswith("deeplab") else 1.0) * (0.5 + branches * views)


@dataclass(frozen=True)
class RunResult:
    """What one run gave, for one seed and fold.

    Args:
        spec: of the run.
        seed: of the run.
        fold: its fold, or ``None`` for the data set's own split.
        rows: readout to the rows of all test cases and maps.
        curves: map to mean Dice over the test cases, one a threshold (readout ``cam``).
        thresholds: of the curves.
        code_version: commit of the code that made it.
        made_on: precision and device of the training.
        seconds: wall time of the training; nan if it was interrupted.
        folder: where its files lie.
    """

    spec: RunSpec
    seed: int
    fold: int | None
    rows: dict[str, list[CaseRow]]
    curves: dict[str, list[float]] = field(default_factory=dict)
    thresholds: tuple[float, ...] = ()
    code_version: str = ""
    made_on: str = ""
    seconds: float = math.nan
    folder: Path = Path()


@dataclass(frozen=True)
class Cell:
    """Which figure stands in a cell of a table.

    Args:
        spec: the run, over all seeds and folds.
        readout: key of `READOUTS`.
        map: a modality, ``early_fusion``, ``fused``, or some modalities fused, such as ``t1-t2``.
        metric: field of `CaseRow`: ``dice``, ``assd_mm``, ``under_ratio`` or ``over_ratio``.
    """

    spec: RunSpec
    readout: str
    map: str
    metric: str
