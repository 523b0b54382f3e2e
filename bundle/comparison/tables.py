"""Tables with results as Markdown, to be read, and as CSV, to be computed with."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence

from bundle.comparison.filled import Place, digits, fill, printed
from bundle.comparison.footnotes import INFINITE, LEFT_OUT, MARK, NONE, footnotes
from bundle.comparison.paired_tests import Comparison, compare
from bundle.comparison.paper_cells import GROUPS
from bundle.comparison.runs import RunResult
from bundle.comparison.table_values import Block, Column, Gain, Row, Table

WIDEST = 6  # columns of two figures each that fit a page
UNITS = {"dice": "Dice %", "assd_mm": "ASSD mm"}
FIELDS = [
    "table",
    "block",
    "group",
    "row",
    "column",
    "run",
    "readout",
    "map",
    "metric",
    "mean",
    "sd_patients",
    "sd_seeds",
    "n_patients",
    "n_undefined",
    "n_empty",
    "seeds",
    "published_mean",
    "published_sd",
    "published_note",
    "code_versions",
]


def to_markdown(
    table: Table,
    results: Sequence[RunResult],
    *,
    against_paper: bool = False,
    protocol: Sequence[tuple[str, str, str]] = (),
    about: str = "",
) -> str:
    """Print a table in the paper's layout.

    A cell reads ``58.9 ± 12.9 (1.2) / 59.7``: mean and SD over patients, SD of the seeds' means, published mean. Where
    published means make a table too wide for a page, it is printed by metric, or by readout.

    Args:
        table: as laid out.
        results: of its runs and any others; what is missing shows as a dash and is named below.
        against_paper: put the published means beside ours.
        about: a sentence on what it was made on.
        protocol: items with ours and the paper's; those that differ are listed above the table.
    """
    blocks = fill(table, results)
    parts = [f"## {table.name[:-1].capitalize()} {table.name[-1]}. {table.title}"]
    if about:
        parts.append(about)
    if against_paper:
        parts += _protocol(protocol)
    for block, rows in zip(table.blocks, blocks, strict=True):
        if block.title:
            parts.append(f"**{block.title}**")
        is_wide = against_paper and len(block.columns) > WIDEST
        parts += [_block(block, part, against_paper) for part in (_parts(block, rows) if is_wide else [rows])]
    places = [place for block in blocks for row in block for place in row]
    parts.append("\n".join(f"- {line}" for line in footnotes(table, places, results, against_paper)))
    parts += _comparisons(compare(table, results))
    return "\n\n".join(part for part in parts if part) + "\n"


def to_csv(table: Table, results: Sequence[RunResult]) -> str:
    """Give a table as tidy CSV, a row a cell, in the units of print (Dice in %, ASSD in mm).

    Args:
        table: as laid out.
        results: as in `to_markdown`.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    for block in fill(table, results):
        for row in block:
            writer.writerows(_record(table, place) for place in row if place.cell is not None)
    return text.getvalue()


def _record(table: Table, place: Place) -> dict[str, str | int]:
    cell = place.cell.of if isinstance(place.cell, Gain) else place.cell
    assert cell is not None
    record: dict[str, str | int] = {
        "table": table.name,
        "block": place.block.title,
        "group": place.row.group,
        "row": place.row.label,
        "column": place.column.label,
        "run": cell.spec.name,
        "readout": cell.readout,
        "map": cell.map,
        "metric": f"{cell.metric}_gain" if isinstance(place.cell, Gain) else cell.metric,
    }
    if place.value is not None:
        for name in ("mean", "sd_patients", "sd_seeds"):
            record[name] = exact(printed(getattr(place.value, name), cell.metric))
        record["seeds"] = " ".join(map(str, place.value.seeds))
        record["code_versions"] = " ".join(place.value.code_versions)
        record |= {name: getattr(place.value, name) for name in ("n_patients", "n_undefined", "n_empty")}
    if place.published is not None:
        record["published_mean"] = exact(place.published.mean)
        record["published_sd"] = "" if place.published.sd is None else exact(place.published.sd)
        record["published_note"] = place.published.note
    return record


def exact(value: float) -> str:
    """A number of a CSV; blank if undefined."""
    return "" if math.isnan(value) else f"{value:.6g}"


def _parts(block: Block, rows: Sequence[Sequence[Place]]) -> Iterator[list[list[Place]]]:
    """A wide block by metric or, where readouts are columns, by readout."""
    keys = [_part_of(column) for column in block.columns]
    for key in dict.fromkeys(keys):
        yield [[place for place, own in zip(row, keys, strict=True) if own == key] for row in rows]


def _part_of(column: Column) -> tuple[str, str]:
    named = (label for label, _ in GROUPS if column.label.endswith(f" {label}"))
    return column.metric, next(named, GROUPS[0][0])


def _block(block: Block, rows: Sequence[Sequence[Place]], against_paper: bool) -> str:
    names = list(block.ticks) or ["Method" if block.best == "column" else ""]
    heads = [*names, *(_heading(place.column) for place in rows[0])]
    lines = [heads]
    group = ""
    for row, places in zip(block.rows, rows, strict=True):
        if row.group != group:
            group = row.group
            lines.append([f"*{group}*", *("" for _ in heads[1:])])
        lines.append([*_labels(block, row), *(_cell(place, against_paper) for place in places)])
    return grid(lines, len(names))


def _heading(column: Column) -> str:
    unit = f" {UNITS[column.metric]}" if column.metric else ""
    return f"{column.label}{'' if column.in_paper else ' *'}{unit}"


def _labels(block: Block, row: Row) -> list[str]:
    """The row's name, or its ticks; a row without any tick keeps its name."""
    parts = row.label.split(" + ")
    if block.ticks and set(parts) <= set(block.ticks):
        return ["✓" if tick in parts else NONE for tick in block.ticks]
    return [f"{row.label}{'' if row.in_paper else ' *'}", *("" for _ in block.ticks[1:])]


def _cell(place: Place, against_paper: bool) -> str:
    text = NONE if place.value is None else figure_text(place)
    if not against_paper or place.published is None:
        return text
    sign = "+" if isinstance(place.cell, Gain) else ""
    mark = f" {MARK}" if place.published.note else ""
    return f"{text} / {place.published.mean:{sign}.{digits(place.metric)}f}{mark}"


def figure_text(place: Place) -> str:
    """Mean, SD over patients and SD of the seeds' means of a place that has a value."""
    assert place.value is not None
    decimals = digits(place.metric)
    if math.isnan(place.figure):
        return "undefined"
    if isinstance(place.cell, Gain):
        return f"{place.figure:+.{decimals}f}"
    mean = f"{place.figure:.{decimals}f}".replace("inf", INFINITE)
    text = f"**{mean}**" if place.is_best else mean
    for shape, value in (("± {}", place.value.sd_patients), ("({})", place.value.sd_seeds)):
        if not math.isnan(value):
            text += " " + shape.format(f"{printed(value, place.metric):.{decimals}f}")
    return f"{text} {LEFT_OUT}" if place.value.n_undefined else text


def _protocol(items: Sequence[tuple[str, str, str]]) -> list[str]:
    different = [(item, ours, paper) for item, ours, paper in items if str(ours) != str(paper)]
    if not different:
        return ["No difference in protocol is known."] if items else []
    return ["Differences from the paper:", grid([["protocol", "here", "paper"], *map(list, different)], 3)]


def _comparisons(comparisons: Sequence[Comparison]) -> list[str]:
    if not comparisons:
        return []
    tests = Counter(c.group for c in comparisons if c.p is not None)
    title = (
        "Proposed against each other method, patient by patient: Dice of the map of all modalities, mean over seeds, "
        "Wilcoxon's signed-rank test, two-sided, without the patients who are equal."
    )
    if tests:
        numbers = " and ".join(f"{number} with {group}" for group, number in tests.items())
        title += f" Corrected by Holm for all tests of a readout ({numbers}), since the two differ little."
    has_notes = any(c.note for c in comparisons)
    heads = ["combination", "maps", "against", "patients", "equal", "difference", "p", "p corrected"]
    lines = [[*heads, "note"] if has_notes else heads]
    for c in comparisons:
        numbers_of = [
            str(c.n_patients),
            str(c.n_equal),
            signed(100 * c.difference),
            p_text(c.p),
            p_text(c.p_holm),
        ]
        lines.append([c.place, c.group, c.method, *numbers_of, *([c.note] if has_notes else [])])
    return [title, grid(lines, 3)]


def signed(value: float) -> str:
    """A difference in points, to a decimal."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("-0.0", "+0.0") else text


def p_text(value: float | None) -> str:
    """A p-value, or a dash for none."""
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def grid(lines: Sequence[Sequence[str]], left: int) -> str:
    """Markdown of a heading and its rows, padded to be read unrendered too; the first columns stand left."""
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = [":" + "-" * (w - 1) if i < left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    padded = []
    for line in (lines[0], rule, *lines[1:]):
        cells = (
            text.ljust(width) if i < left else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        padded.append(f"| {' | '.join(cells)} |")
    return "\n".join(padded)
