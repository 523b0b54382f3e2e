"""Tables of our own in print: a row a step with its cost, and shares of full supervision."""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from bundle.comparison.beyond import default_spec
from bundle.comparison.filled import Place, fill, printed
from bundle.comparison.footnotes import NONE, footnotes
from bundle.comparison.paired_tests import Comparison, correct_by_holm, paired_test
from bundle.comparison.plan import folder_of
from bundle.comparison.runs import CHAIN, Cell, Run, RunResult
from bundle.comparison.table_values import Table
from bundle.comparison.tables import UNITS, exact, figure_text, grid, p_text, signed

HEADS = ["", UNITS["dice"], UNITS["assd_mm"], "difference", "p", "p corrected", "min", "healthy ml"]
FIELDS = [
    *("table", "group", "row", "run", "readout", "seeds", "n_patients"),
    *(
        "dice",
        "dice_sd_patients",
        "dice_sd_seeds",
        "assd_mm",
        "assd_sd_patients",
        "assd_sd_seeds",
        "n_undefined",
    ),
    *("difference", "p", "p_holm", "minutes", "healthy_ml", "share_percent", "code_versions"),
]


@dataclass(frozen=True)
class Line:
    """A row with all that is printed of it.

    Args:
        places: its cells.
        comparison: with the cell that it is held against; ``None`` without one or without results.
        minutes: mean wall time of a training; nan if it is not known.
        healthy_ml: mean volume of masks in cases without a lesion; nan if there are none.
        share: of full supervision, a fraction; nan where the table has none.
    """

    places: tuple[Place, ...]
    comparison: Comparison | None = None
    minutes: float = math.nan
    healthy_ml: float = math.nan
    share: float = math.nan


def lines_of(table: Table, results: Sequence[RunResult]) -> list[Line]:
    """The rows of a table of kind ``steps`` or ``shares``, filled.

    Args:
        table: as `beyond.lay_out_beyond` gives it.
        results: of its runs and any others.
    """
    (rows,) = fill(table, results)
    lines = []
    for places in rows:
        cell, row = places[0].cell, places[0].row
        assert isinstance(cell, Cell)
        comparison = None
        if row.against is not None:
            comparison = paired_test(row.label, row.group, "", (cell, row.against), results)
        share = _share(places) if table.kind == "shares" else math.nan
        plain = tuple(replace(place, is_best=False) for place in places)
        lines.append(Line(plain, comparison, _minutes(cell, results), _healthy(cell, results), share))
    corrected = iter(correct_by_holm([line.comparison for line in lines if line.comparison is not None]))
    return [line if line.comparison is None else replace(line, comparison=next(corrected)) for line in lines]


def steps_to_markdown(table: Table, results: Sequence[RunResult], about: str = "") -> str:
    """Print a table of our own; see `tables.to_markdown`."""
    lines = lines_of(table, results)
    body = _shares(table, lines) if table.kind == "shares" else _steps(lines)
    places = [place for line in lines for place in line.places]
    notes = "\n".join(f"- {note}" for note in footnotes(table, places, results, False, bold=False))
    return "\n\n".join(part for part in (f"## {table.title}", about, body, notes) if part) + "\n"


def steps_to_csv(table: Table, results: Sequence[RunResult]) -> str:
    """Give such a table as CSV, a row a row and of several figures the columns' own, in the units of print."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    for line in lines_of(table, results):
        shown = [line.places] if table.kind == "steps" else [(place,) for place in line.places]
        writer.writerows(_record(table, line, places) for places in shown)
    return text.getvalue()


def write_steps(
    table: Table, results: Sequence[RunResult], runs: Sequence[Run], about: str, output_dir: Path
) -> list[Path]:
    """Print a table and write it, with the best, median and worst patient of the default, to ``tables/``.

    Args:
        table: as laid out.
        results: of its runs.
        runs: as planned; the pictures are those of the first seed, if it was run here.
        about: a sentence on what it was made on.
        output_dir: of the comparison.
    """
    folder = output_dir / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    text = steps_to_markdown(table, results, about)
    print(f"\n{text}", flush=True)
    files = [folder / f"{table.name}.md", folder / f"{table.name}.csv"]
    files[0].write_text(text, encoding="utf-8")
    files[1].write_text(steps_to_csv(table, results), encoding="utf-8")
    for name, place in (("cam_stage", "cam"), (CHAIN, "evaluation")) if table.kind == "steps" else ():
        sheets = (folder_of(output_dir, run) / place / "contact_sheet.png" for run in runs if _is(run, name))
        found = next((sheet for sheet in sheets if sheet.is_file()), None)
        if found is not None:
            files.append(Path(shutil.copyfile(found, folder / f"{table.name}_{name}.png")))
    return files


def _is(run: Run, name: str) -> bool:
    """Whether a run is the default, of the CAM stage or of the chain."""
    return run.kind == CHAIN if name == CHAIN else run.spec == default_spec(run.spec.modalities)


def _steps(lines: Sequence[Line]) -> str:
    rows = [HEADS]
    group = ""
    for line in lines:
        row, c = line.places[0].row, line.comparison
        if row.group != group:
            group = row.group
            rows.append([f"*{group}*", *("" for _ in HEADS[1:])])
        tested = (
            (NONE, NONE, NONE) if c is None else (signed(100 * c.difference), p_text(c.p), p_text(c.p_holm))
        )
        figures = [NONE if place.value is None else figure_text(place) for place in line.places]
        rows.append([row.label, *figures, *tested, _number(line.minutes), _number(line.healthy_ml)])
    return grid(rows, 1)


def _shares(table: Table, lines: Sequence[Line]) -> str:
    rows = [
        ["patients", *(f"{column.label} {UNITS['dice']}" for column in table.blocks[0].columns), "share %"]
    ]
    for line in lines:
        figures = [NONE if place.value is None else figure_text(place) for place in line.places]
        rows.append([line.places[0].row.label, *figures, _number(100 * line.share)])
    return grid(rows, 1)


def _share(places: Sequence[Place]) -> float:
    """Of the chain, the second cell, in the better one of full supervision, which follow it."""
    bounds = [place.figure for place in places[2:] if not math.isnan(place.figure)]
    return places[1].figure / max(bounds) if bounds and max(bounds) > 0 else math.nan


def _number(value: float) -> str:
    return NONE if math.isnan(value) else f"{value:.1f}"


def _record(table: Table, line: Line, places: Sequence[Place]) -> dict[str, str | int]:
    cell, row = places[0].cell, places[0].row
    assert isinstance(cell, Cell)
    record: dict[str, str | int] = {
        "table": table.name,
        "group": row.group,
        "row": row.label,
        "run": cell.spec.name,
        "readout": cell.readout,
        "minutes": exact(line.minutes) if table.kind == "steps" else "",
        "healthy_ml": exact(line.healthy_ml) if table.kind == "steps" else "",
        "share_percent": exact(100 * line.share),
    }
    for place, name in zip(places, ("dice", "assd"), strict=False):
        if (value := place.value) is not None:
            record["dice" if name == "dice" else "assd_mm"] = exact(printed(value.mean, place.metric))
            record[f"{name}_sd_patients"] = exact(printed(value.sd_patients, place.metric))
            record[f"{name}_sd_seeds"] = exact(printed(value.sd_seeds, place.metric))
            record |= {"n_patients": value.n_patients, "n_undefined": value.n_undefined}
            record |= {
                "seeds": " ".join(map(str, value.seeds)),
                "code_versions": " ".join(value.code_versions),
            }
    if (c := line.comparison) is not None:
        record |= {"difference": exact(100 * c.difference), "p": _blank(c.p), "p_holm": _blank(c.p_holm)}
    return record


def _blank(p: float | None) -> str:
    return "" if p is None else exact(p)


def _minutes(cell: Cell, results: Sequence[RunResult]) -> float:
    known = [r.seconds for r in results if r.spec == cell.spec and not math.isnan(r.seconds)]
    return fmean(known) / 60 if known else math.nan


def _healthy(cell: Cell, results: Sequence[RunResult]) -> float:
    volumes = [
        row.prediction_ml
        for result in results
        if result.spec == cell.spec
        for row in result.rows.get(cell.readout, [])
        if row.map == cell.map and row.empty_truth
    ]
    return fmean(volumes) if volumes else math.nan
