"""Files of an evaluation: one CSV row per case and map, and the JSON summary."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from bundle.metrics.case_scores import CaseRow, CaseScores
from bundle.metrics.mask_rule import MaskRule
from bundle.metrics.summary import summarise
from bundle.metrics.threshold_sweep import THRESHOLDS

EMPTY_POLICY = (
    "Dice is 1 if truth and prediction are both empty and 0 if only one of them is.",
    "ASSD is undefined (nan) if either is empty; the ratios are undefined if no voxel is hit (TP = 0).",
    "Headline figures are over the cases with a lesion (truth not empty), an empty prediction counting as "
    "Dice 0; each mean is over the defined values, whose number is given.",
    "Healthy cases (truth empty) do not enter these means; they are reported by the share called empty and "
    "the false positive volume in ml.",
    "Cases without a truth mask are listed with their predicted volume and enter no score.",
)
UNITS = (
    "One row per case and map (a modality, or fused), whole volume on the scan's own grid. dice and "
    "dice_positive_slices are fractions of 1; assd_mm in mm; under_ratio = FN/TP, over_ratio = FP/TP; "
    "volumes in ml.",
    "dice_positive_slices: Dice over the slices (third axis) that hold truth, pooled; nan if none does.",
    "empty_truth and empty_prediction are 1 or 0; empty_truth is blank if the case has no truth mask.",
)
COLUMNS = tuple(entry.name for entry in fields(CaseRow))
_FLAGS = ("empty_truth", "empty_prediction")
_TEXTS = ("case", "map")


def write_rows(
    path: Path | str, rows: Iterable[CaseRow], rule: MaskRule, available: Sequence[str] | None = None
) -> None:
    """Write the rows as CSV under comment lines: how the masks were made, units, and the policy for empty masks.

    Args:
        path: file to write; its folder must exist.
        rows: in the order they are to stand in.
        rule: what made the masks.
        available: modalities that might be used, where not all might; ``None`` for all.
    """
    made = [f"Mask: {rule.text}.", *([f"Modalities used: {', '.join(available)}."] if available else [])]
    with open(path, "w", newline="", encoding="utf-8") as stream:
        for line in (*made, *UNITS, *EMPTY_POLICY):
            stream.write(f"# {line}\n")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([_to_cell(value) for value in astuple(row)])


def read_rows(path: Path | str) -> list[CaseRow]:
    """Read rows that `write_rows` wrote, passing over the comment lines above the column names.

    Raises:
        ValueError: if the columns are not those of `CaseRow`.
    """
    with open(path, newline="", encoding="utf-8") as stream:
        line = stream.readline()
        while line.startswith("#"):
            line = stream.readline()
        found = next(csv.reader([line]), [])
        if tuple(found) != COLUMNS:
            raise ValueError(
                f"{path}: expected the columns {', '.join(COLUMNS)}, found {', '.join(found) or 'none'}; "
                "give a metrics.csv that an evaluation of this version wrote"
            )
        return [_from_cells(dict(zip(COLUMNS, cells, strict=True))) for cells in csv.reader(stream)]


def write_summary(
    path: Path | str,
    scores: Sequence[CaseScores],
    rule: MaskRule,
    thresholds: Sequence[float] = THRESHOLDS,
    names: Sequence[str] | None = None,
    available: Sequence[str] | None = None,
    weights_sha256: str | None = None,
) -> dict[str, Any]:
    """Write the summary of all cases as JSON (undefined values as null) and return it (as nan).

    Args:
        path: file to write; its folder must exist.
        scores: one entry a case.
        rule: what made the masks; ``threshold`` is its number or name, ``mask_steps`` what came before and
            after it.
        thresholds: those of the curves.
        names: see `summarise`.
        available: modalities that might be used, where not all might; ``None`` for all.
        weights_sha256: checksum of the file of weights that drew the maps, if a network did.
    """
    summary = {
        **({} if weights_sha256 is None else {"weights_sha256": weights_sha256}),
        "threshold": rule.threshold,
        "mask_steps": [*rule.map_steps, *rule.steps],
        "available": None if available is None else list(available),
        "units": "Dice as fractions of 1, distances in mm, volumes in ml; sd is the sample SD (n - 1)",
        "empty_policy": list(EMPTY_POLICY),
        **summarise(scores, thresholds, names),
    }
    text = json.dumps(_without_nan(summary), indent=2, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")
    return summary


def _to_cell(value: str | float | bool | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return value if isinstance(value, str) else repr(float(value))


def _from_cells(cells: dict[str, str]) -> CaseRow:
    values: dict[str, Any] = {}
    for name, cell in cells.items():
        if name in _TEXTS:
            values[name] = cell
        elif name in _FLAGS:
            values[name] = bool(int(cell)) if cell else None
        else:
            values[name] = float(cell)
    return CaseRow(**values)


def _without_nan(value: Any) -> Any:
    """Replace nan, which JSON has no word for, by null."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
