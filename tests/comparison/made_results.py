"""Results made by hand, for the tables' tests."""

from __future__ import annotations

import math
from pathlib import Path

from bundle.comparison import Cell, RunResult, RunSpec
from bundle.metrics import CaseRow

PAIR = ("flair", "t1c")


def case_row(case: str, map_name: str, dice: float, assd_mm: float = 2.0, **changes) -> CaseRow:
    """A row of a case with a lesion."""
    values = {
        "under_ratio": 1.0,
        "over_ratio": 1.0,
        "dice_positive_slices": dice,
        "truth_ml": 5.0,
        "prediction_ml": 5.0,
        "empty_truth": False,
        "empty_prediction": False,
    }
    return CaseRow(case=case, map=map_name, dice=dice, assd_mm=assd_mm, **(values | changes))


def empty_row(case: str, map_name: str) -> CaseRow:
    """A row of a case whose lesion was not seen at all."""
    nan = {"under_ratio": math.nan, "over_ratio": math.nan}
    return case_row(case, map_name, 0.0, math.nan, **nan, prediction_ml=0.0, empty_prediction=True)


def run_result(
    spec: RunSpec,
    dices: dict[str, float],
    seed: int = 0,
    fold: int | None = None,
    readouts: tuple[str, ...] = ("cam", "gradcampp"),
    version: str = "abc1234",
) -> RunResult:
    """A run with the same Dice in all its maps."""
    own = ("early_fusion",) if spec.early_fusion else spec.modalities
    maps = (*own, "-".join(spec.modalities[:2]), "fused") if len(spec.modalities) > 2 else (*own, "fused")
    rows = [case_row(case, name, dice) for case, dice in dices.items() for name in maps]
    return RunResult(
        spec=spec,
        seed=seed,
        fold=fold,
        rows=dict.fromkeys(readouts, rows),
        curves={name: [0.2, 0.6, 0.4] for name in maps},
        thresholds=(0.25, 0.5, 0.75),
        code_version=version,
        folder=Path("runs") / spec.name,
    )


def fused_dice(method: str, modalities: tuple[str, ...] = PAIR) -> Cell:
    return Cell(RunSpec(method, modalities), "cam", "fused", "dice")
