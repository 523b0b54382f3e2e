"""From the rows of all cases to means, medians, curves and the printed table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bundle.metrics.case_scores import CaseRow, CaseScores
from bundle.metrics.threshold_sweep import THRESHOLDS

CURVE_NOTE = (
    "Mean Dice over the cases with truth at each threshold. It is made with the truth masks, "
    "so it describes; no threshold, model or epoch is chosen by it."
)


def summarise(
    scores: Sequence[CaseScores],
    thresholds: Sequence[float] = THRESHOLDS,
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Summarise all cases, map by map.

    Headline figures are over the cases whose truth is not empty; cases with an empty truth are reported under
    ``healthy``. Each mean is over the defined values and comes with their number. SD is the sample SD (n -
    1).

    Args:
        scores: one entry a case.
        thresholds: those of the curves in ``scores``.
        names: maps, in this order; a case may lack some, whose branch it has not, and is not counted there. By
            default those of the first case.

    Returns:
        ``{"n_cases", "n_without_mask", "maps": {name: {…}}}``; fractions, mm and ml; nan where undefined.

    Raises:
        ValueError: if there is no case, or a case has other maps.
    """
    if not scores:
        raise ValueError("no case was scored: expected at least one; check the data list of the evaluation")
    every = list(names or [row.map for row in scores[0].rows])
    of_map: dict[str, list[tuple[CaseRow, np.ndarray]]] = {name: [] for name in every}
    for entry in scores:
        found = [row.map for row in entry.rows]
        expected = every if names is None else [name for name in every if name in {*found, every[-1]}]
        if found != expected:
            raise ValueError(
                f"case {entry.case}: expected the maps {every}, found {found}; score all cases alike"
            )
        for row, curve in zip(entry.rows, entry.curves, strict=True):
            of_map[row.map].append((row, curve))
    return {
        "n_cases": len(scores),
        "n_without_mask": sum(entry.fused.empty_truth is None for entry in scores),
        "maps": {
            name: _summarise_map([row for row, _ in held], np.stack([curve for _, curve in held]), thresholds)
            for name, held in of_map.items()
            if held
        },
    }


def _summarise_map(rows: list[CaseRow], curves: np.ndarray, thresholds: Sequence[float]) -> dict[str, Any]:
    has_truth = np.array([row.empty_truth is False for row in rows])
    lesions = [row for row in rows if row.empty_truth is False]
    healthy = [row for row in rows if row.empty_truth]
    called_empty = sum(row.empty_prediction for row in healthy)
    curve = curves[has_truth].mean(axis=0) if lesions else np.full(len(thresholds), math.nan)
    return {
        "n": len(rows),
        "n_with_truth": len(lesions),
        "n_empty_prediction": sum(row.empty_prediction for row in lesions),
        "dice": _describe([row.dice for row in lesions]),
        "assd_mm": _describe([row.assd_mm for row in lesions]),
        "under_ratio": _describe([row.under_ratio for row in lesions]),
        "over_ratio": _describe([row.over_ratio for row in lesions]),
        "dice_positive_slices": _describe([row.dice_positive_slices for row in lesions]),
        "healthy": {
            "n": len(healthy),
            "n_called_empty": called_empty,
            "share_called_empty": called_empty / len(healthy) if healthy else math.nan,
            "false_positive_ml": _describe([row.prediction_ml for row in healthy]),
        },
        "dice_curve": {
            "thresholds": [float(value) for value in thresholds],
            "mean_dice": [float(value) for value in curve],
            "note": CURVE_NOTE,
        },
    }


def headline(summary: dict[str, Any]) -> dict[str, float]:
    """The table's figures by name, ``<map>/dice`` and so on: means, of ratios medians; nan where undefined."""
    found: dict[str, float] = {}
    for name, entry in summary["maps"].items():
        found |= {f"{name}/{what}": entry[what]["mean"] for what in ("dice", "assd_mm")}
        found |= {f"{name}/{what}": entry[what]["median"] for what in ("under_ratio", "over_ratio")}
    return found


def _describe(values: Sequence[float]) -> dict[str, float]:
    """Return mean, sample SD and median of the defined values, and how many there are."""
    defined = np.array([value for value in values if not math.isnan(value)])
    return {
        "mean": float(defined.mean()) if defined.size else math.nan,
        "sd": float(defined.std(ddof=1)) if defined.size > 1 else math.nan,
        "median": float(np.median(defined)) if defined.size else math.nan,
        "n": int(defined.size),
    }


def format_table(summary: dict[str, Any]) -> str:
    """Lay a summary out as an aligned Markdown table: a row a map, ``fused`` last; mean Dice first, in %.

    Ratios are medians, since a map that hits a few voxels only has a ratio in the thousands. ``empty`` is
    the number of empty predictions among the cases with truth.
    """
    header = ["map", "Dice %", "SD", "median", "ASSD mm", "r_u", "r_o", "empty"]
    body = [
        [
            name,
            _number(100 * entry["dice"]["mean"], 1),
            _number(100 * entry["dice"]["sd"], 1),
            _number(100 * entry["dice"]["median"], 1),
            _number(entry["assd_mm"]["mean"], 2),
            _number(entry["under_ratio"]["median"], 2),
            _number(entry["over_ratio"]["median"], 2),
            f"{entry['n_empty_prediction']}/{entry['n_with_truth']}",
        ]
        for name, entry in summary["maps"].items()
    ]
    widths = [max(len(line[column]) for line in [header, *body]) for column in range(len(header))]
    dashes = ["-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths)]
    rule = f"|{'|'.join(dashes)}|"
    lines = [_line(header, widths), rule, *(_line(line, widths) for line in body)]
    return "\n".join([*lines, "", _caption(summary)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    aligned = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(aligned)} |"


def _caption(summary: dict[str, Any]) -> str:
    name, entry = list(summary["maps"].items())[-1]
    healthy = entry["healthy"]
    parts = [
        f"Over {entry['n_with_truth']} cases with a lesion, of which `empty` have no mask. "
        "r_u and r_o are the missed and the falsely marked volume over the rightly marked one, medians."
    ]
    if healthy["n"]:
        parts.append(
            f"{name}: {healthy['n_called_empty']} of {healthy['n']} healthy cases called empty, "
            f"{healthy['false_positive_ml']['mean']:.1f} ml false positive on average."
        )
    if summary["n_without_mask"]:
        parts.append(f"{summary['n_without_mask']} cases have no mask and are not scored.")
    return " ".join(parts)


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
