"""What may be said of the difference between two methods."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import wilcoxon

from bundle.comparison.paper_cells import GROUPS, is_rival
from bundle.comparison.runs import PROPOSED, Cell, RunResult
from bundle.comparison.statistics import patient_means, rows_by_seed
from bundle.comparison.table_values import Table

FEWEST_PATIENTS = 6  # with five, the smallest two-sided p of the signed-rank test is 0.0625


@dataclass(frozen=True)
class Comparison:
    """Wilcoxon's signed-rank test of Proposed against another method, on the patients' Dice.

    Args:
        place: the combination.
        group: the readout.
        method: label of the other method.
        n_patients: that both have a result for.
        n_equal: of these, how many do not differ; the test drops them.
        difference: mean of Proposed's Dice less the other's over all of them, a fraction.
        p: two-sided; ``None`` if too few patients differ.
        p_holm: corrected for all comparisons of the table with this readout (Holm 1979).
        note: why there is no p, and where the seeds differ; else blank.
    """

    place: str
    group: str
    method: str
    n_patients: int
    n_equal: int
    difference: float
    p: float | None
    p_holm: float | None = None
    note: str = ""


def compare(table: Table, results: Iterable[RunResult]) -> list[Comparison]:
    """Test Proposed against every other method, for each combination and readout, on the fused map's Dice.

    Full supervision is no rival and is not tested.

    Args:
        table: whose cells to compare; methods without a result are passed over.
        results: of its runs.
    """
    results = list(results)
    places: dict[tuple[int, str, str], dict[str, Cell]] = {}
    for number, block in enumerate(table.blocks):
        for row in block.rows:
            for column, cell in zip(block.columns, row.cells, strict=True):
                if not isinstance(cell, Cell) or not is_rival(cell):
                    continue
                if cell.metric != "dice" or cell.map in cell.spec.modalities:
                    continue
                group = next(label for label, readout in GROUPS if readout == cell.readout)
                place, method = column.label, row.label
                if block.best == "row":  # methods are columns there
                    place, method = row.label, column.label.removesuffix(f" {group}")
                places.setdefault((number, place, group), {})[method] = cell
    found = []
    for (_, place, group), cells in places.items():
        proposed = next((cell for cell in cells.values() if cell.spec.method == PROPOSED), None)
        if proposed is None:
            continue
        for method, cell in cells.items():
            tested = (
                None if cell == proposed else paired_test(place, group, method, (proposed, cell), results)
            )
            if tested is not None:
                found.append(tested)
    return correct_by_holm(found)


def correct_by_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Fill in the corrected p: the smallest times the number of tests, the next times one less, never falling.

    Each readout is a family of its own: CAM and GradCAM++ of one network are nearly the same map.
    """
    corrected: dict[int, float] = {}
    for group in {c.group for c in comparisons}:
        family = sorted((c.p, i) for i, c in enumerate(comparisons) if c.group == group and c.p is not None)
        highest = 0.0
        for rank, (p, index) in enumerate(family):
            highest = max(highest, min(1.0, (len(family) - rank) * p))
            corrected[index] = highest
    return [replace(c, p_holm=corrected.get(i)) for i, c in enumerate(comparisons)]


def paired_test(
    place: str, group: str, method: str, cells: tuple[Cell, Cell], results: Sequence[RunResult]
) -> Comparison | None:
    """Test the first cell against the second, patient by patient; ``None`` if either has no result."""
    ours, theirs = (patient_means(cell, results) for cell in cells)
    if not ours or not theirs:
        return None
    differences = np.array([ours[case] - theirs[case] for case in sorted(ours.keys() & theirs.keys())])
    unequal = differences[differences != 0]
    notes, p = [], None
    if len(unequal) >= FEWEST_PATIENTS:
        p = float(wilcoxon(unequal).pvalue)
    else:
        notes.append(f"too few differ (n = {len(unequal)})" if len(unequal) else "no patient differs")
    seeds = [" ".join(str(seed) for seed in rows_by_seed(cell, results)) for cell in cells]
    if seeds[0] != seeds[1]:
        notes.append(f"seeds {seeds[0]} against {seeds[1]}")
    return Comparison(
        place=place,
        group=group,
        method=method,
        n_patients=len(differences),
        n_equal=len(differences) - len(unequal),
        difference=float(differences.mean()) if len(differences) else math.nan,
        p=p,
        note="; ".join(notes),
    )
