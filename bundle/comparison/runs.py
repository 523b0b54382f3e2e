"""One training of a comparison: what it is, what it is called, and what came out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from bundle.metrics.case_scores import CaseRow

READOUTS: dict[str, dict[str, str]] = {  # short name to options of an evaluation
    "cam": {},  # the method's own map
    "gradcampp": {"method": "bundle.inferers.GradCamPlusPlusInferer"},
}
PROPOSED = "proposed"  # the recipe itself: ER, KD and CMER


@dataclass(frozen=True, order=True)
class RunSpec:
    """What a training is, but for its seed and fold.

    Args:
        method: name of a ``configs/method_*.yaml`` without prefix and suffix, such as ``er_scale``; `PROPOSED`
            for the recipe as it is.
        modalities: which, in the order of the branches.
        network: name of a ``configs/network_*.yaml``; empty for the recipe's own.
        early_fusion: the modalities as channels of one branch.
    """

    method: str
    modalities: tuple[str, ...]
    network: str = ""
    early_fusion: bool = False

    @property
    def name(self) -> str:
        """Readable and fit for a folder, such as ``er_scale_t1-t2``."""
        parts = (self.method, "-".join(self.modalities), self.network, "early" if self.early_fusion else "")
        return "_".join(part for part in parts if part)


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
