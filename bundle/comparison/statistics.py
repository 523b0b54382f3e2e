"""From the results of runs to the figure in a cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bundle.comparison.runs import Cell, RunResult
from bundle.comparison.table_values import Gain
from bundle.metrics import CaseRow

MEDIANS = ("under_ratio", "over_ratio")  # a map that hits a few voxels has a ratio in the thousands


@dataclass(frozen=True)
class CellValue:
    """The figure of a cell, in the unit of `CaseRow`; what is undefined is nan.

    Args:
        mean: over patients, then over seeds; ratios: median over patients, then mean over seeds, infinite if it is
            for any seed.
        sd_patients: sample SD over patients, averaged over seeds: what the paper prints. Nan for ratios.
        sd_seeds: sample SD of the seeds' means; nan for one seed, or if one is infinite.
        seeds: that have a result.
        by_seed: mean of each of them.
        n_patients: with a lesion, tested in any seed.
        n_undefined: values left out, over patients and seeds: the ASSD and FP/TP of an empty mask.
        n_empty: empty predictions, over patients and seeds.
        code_versions: that made the runs.
        complete: whether each seed was tested on the same patients.
    """

    mean: float
    sd_patients: float
    sd_seeds: float
    seeds: tuple[int, ...]
    by_seed: tuple[float, ...]
    n_patients: int
    n_undefined: int
    n_empty: int
    code_versions: tuple[str, ...]
    complete: bool = True


def evaluate(cell: Cell | Gain, results: Iterable[RunResult]) -> CellValue | None:
    """The figure of a cell over all seeds and folds.

    The folds of one seed are pooled, since each tests other patients. Cases with an empty truth, and those without
    a mask, are left out as in `summarise`. A map that hits nothing has infinite ratios here, where a `CaseRow` has nan:
    left out, a method that misses most patients would show the ratio of the few it hits.

    Args:
        cell: which figure; of a gain, the difference of the means.
        results: of any runs.

    Returns:
        ``None`` if no run has the figure.

    Raises:
        ValueError: if a patient is tested twice for one seed.
    """
    results = list(results)
    if isinstance(cell, Gain):
        return _subtract(evaluate(cell.of, results), evaluate(cell.over, results))
    by_seed = rows_by_seed(cell, results)
    if not by_seed:
        return None
    middle = np.median if cell.metric in MEDIANS else np.mean
    values = [[_value(row, cell.metric) for row in rows.values()] for rows in by_seed.values()]
    means = [_of_defined(middle, seed) for seed in values]
    spreads = [] if cell.metric in MEDIANS else [_sample_sd(seed) for seed in values]
    return CellValue(
        mean=_of_defined(np.mean, means),
        sd_patients=_of_defined(np.mean, spreads),
        sd_seeds=_sample_sd(means),
        seeds=tuple(by_seed),
        by_seed=tuple(means),
        n_patients=len({case for rows in by_seed.values() for case in rows}),
        n_undefined=sum(math.isnan(value) for seed in values for value in seed),
        n_empty=sum(row.empty_prediction for rows in by_seed.values() for row in rows.values()),
        code_versions=tuple(sorted({result.code_version for result in results if _holds(result, cell)})),
        complete=len({frozenset(rows) for rows in by_seed.values()}) == 1,
    )


def patient_means(cell: Cell, results: Iterable[RunResult]) -> dict[str, float]:
    """Mean over seeds for each patient with a lesion; undefined values are left out.

    Raises:
        ValueError: as `evaluate`.
    """
    found: dict[str, list[float]] = {}
    for rows in rows_by_seed(cell, results).values():
        for case, row in rows.items():
            found.setdefault(case, []).append(_value(row, cell.metric))
    means = {case: _of_defined(np.mean, values) for case, values in found.items()}
    return {case: mean for case, mean in means.items() if not math.isnan(mean)}


def _value(row: CaseRow, metric: str) -> float:
    """A score, with the ratios of a map that hits nothing infinite; FP/TP of an empty mask stays undefined."""
    value = float(getattr(row, metric))
    missed_all = metric in MEDIANS and math.isnan(
        value
    )  # a lesion is there: `rows_by_seed` keeps no other row
    return math.inf if missed_all and not (metric == "over_ratio" and row.empty_prediction) else value


def _holds(result: RunResult, cell: Cell) -> bool:
    rows = result.rows.get(cell.readout, [])
    return result.spec == cell.spec and any(row.map == cell.map for row in rows)


def rows_by_seed(cell: Cell, results: Iterable[RunResult]) -> dict[int, dict[str, CaseRow]]:
    """Rows of the cases with a lesion, by seed and case."""
    found: dict[int, dict[str, CaseRow]] = {}
    for result in sorted(results, key=lambda result: result.seed):
        if not _holds(result, cell):
            continue
        rows = found.setdefault(result.seed, {})
        for row in result.rows[cell.readout]:
            if row.map != cell.map or row.empty_truth is not False:
                continue
            if row.case in rows:
                raise ValueError(
                    f"{cell.spec.name}, seed {result.seed}: case {row.case} should be tested once, found a second "
                    f"time in {result.folder}; give each patient to one fold"
                )
            rows[row.case] = row
    return {seed: rows for seed, rows in found.items() if rows}


def _of_defined(summary: Callable[..., np.floating], values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(summary(defined)) if defined else math.nan


def _sample_sd(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    if len(defined) < 2 or math.inf in defined:
        return math.nan
    return float(np.std(defined, ddof=1))


def _subtract(of: CellValue | None, over: CellValue | None) -> CellValue | None:
    if of is None or over is None:
        return None
    return CellValue(
        mean=of.mean - over.mean,
        sd_patients=math.nan,
        sd_seeds=math.nan,
        seeds=tuple(sorted({*of.seeds, *over.seeds})),
        by_seed=(),
        n_patients=min(of.n_patients, over.n_patients),
        n_undefined=0,
        n_empty=0,
        code_versions=tuple(sorted({*of.code_versions, *over.code_versions})),
        complete=of.complete and over.complete,
    )
