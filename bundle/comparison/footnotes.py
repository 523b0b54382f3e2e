"""What a reader of a table must know: patients, seeds, what is missing, and who made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bundle.comparison.filled import Place
from bundle.comparison.runs import Cell, RunResult
from bundle.comparison.table_values import Table

NONE = "\N{EN DASH}"  # where there is no figure
INFINITE = "∞"  # a ratio of maps that hit nothing
LEFT_OUT = "°"  # stands where empty masks are left out of a mean
MARK = "†"  # stands at every published figure that must not be cited


def footnotes(
    table: Table,
    places: Sequence[Place],
    results: Sequence[RunResult],
    against_paper: bool,
    bold: bool = True,
) -> list[str]:
    """Sentences for below the table, each a line.

    Args:
        table: as laid out.
        places: all its cells.
        results: as given to `fill`.
        against_paper: whether the published figures are shown.
        bold: whether the best are in bold.
    """
    needed = set(table.specs)
    used = [result for result in results if result.spec in needed]
    found = [
        *_what_stands_in_a_cell(places, against_paper, bold),
        *_who_was_tested(places),
        *_what_is_undefined(places, bold),
        *_what_is_missing(places),
        *_which_code(used),
        *table.notes,
    ]
    if any(not row.in_paper for block in table.blocks for row in block.rows):
        found.append("Rows with * are not in the paper.")
    if any(not column.in_paper for block in table.blocks for column in block.columns):
        found.append("Columns with * are not in the paper.")
    if against_paper:
        notes = {place.published.note for place in places if place.published} - {""}
        found += [f"{MARK} {note}; do not cite that figure." for note in sorted(notes)]
    if table.left_out:
        found.append(f"Left out: {'; '.join(table.left_out)}.")
    return found


def _what_stands_in_a_cell(places: Sequence[Place], against_paper: bool, bold: bool) -> list[str]:
    values = [place.value for place in places if place.value]
    metrics = {place.metric for place in places if place.cell}
    several = any(len(value.seeds) > 1 for value in values)
    middle = "Mean ± SD over patients" if metrics & {"dice", "assd_mm"} else "Median over patients"
    text = middle + (", in brackets the SD of the seeds' means" if several else "")
    text += "; after the stroke the paper's figure" if against_paper else ""
    return [f"{text}.{' Best in bold.' if bold else ''}"] if values else []


def _who_was_tested(places: Sequence[Place]) -> list[str]:
    values = [place.value for place in places if place.value and isinstance(place.cell, Cell)]
    if not values:
        return []
    numbers = sorted({value.n_patients for value in values})
    patients = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    seeds = {value.seeds for value in values}
    most = max(seeds, key=len)
    found = [f"{patients} patient{'' if numbers == [1] else 's'} with a lesion; {_seeds(most)}."]
    for other in sorted(seeds - {most}):
        runs = _runs(place for place in places if place.value and place.value.seeds == other)
        found.append(f"Only {_seeds(other)}: {', '.join(runs)}.")
    uneven = _runs(place for place in places if place.value and not place.value.complete)
    if uneven:
        found.append(f"Seeds tested on different patients (is a fold missing?): {', '.join(uneven)}.")
    return found


def _what_is_undefined(places: Sequence[Place], bold: bool) -> list[str]:
    """Empty masks have neither ASSD nor FP/TP, and are left out of the mean."""
    if not any(place.value and place.value.n_undefined for place in places):
        return []
    return [
        f"{LEFT_OUT} some masks are empty, whose ASSD or FP/TP is undefined and left out (how many: n_undefined in the "
        f"CSV){'; never in bold' if bold else ''}."
    ]


def _what_is_missing(places: Sequence[Place]) -> list[str]:
    """Runs without a result; of a run with one, the maps that it lacks."""
    found: dict[str, None] = {}
    present: set[str] = set()
    missing: list[Cell] = []
    for place in places:
        if isinstance(place.cell, Cell):
            if place.value is not None:
                present.add(_readout(place.cell))
            else:
                missing.append(place.cell)
    for cell in missing:
        has_others = _readout(cell) in present
        found[_readout(cell) + (f", map {cell.map}" if has_others else "")] = None
    return [f"{NONE} No result: {'; '.join(found)}."] if found else []


def _which_code(results: Sequence[RunResult]) -> list[str]:
    versions = _names_by(results, [result.code_version or "unknown" for result in results])
    places = _names_by(results, [result.made_on or "unknown" for result in results])
    if len(versions) < 2:
        found = [f"Made by version {version} of the code." for version in versions]
    else:
        found = [f"Made by different versions of the code: {_listed(versions)}."]
    if len(places) > 1:
        found.append(f"Made on different devices or in different precision: {_listed(places)}.")
    return found


def _names_by(results: Sequence[RunResult], keys: Sequence[str]) -> dict[str, list[str]]:
    """The runs' names by a key of each."""
    found: dict[str, dict[str, None]] = {}
    for result, key in zip(results, keys, strict=True):
        found.setdefault(key, {})[result.spec.name] = None
    return {key: list(names) for key, names in found.items()}


def _listed(names: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{key} ({', '.join(runs)})" for key, runs in names.items())


def _runs(places: Iterable[Place]) -> list[str]:
    return list(dict.fromkeys(place.cell.spec.name for place in places if isinstance(place.cell, Cell)))


def _readout(cell: Cell) -> str:
    return f"{cell.spec.name} ({cell.readout})"


def _seeds(seeds: tuple[int, ...]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"
