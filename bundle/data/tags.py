"""Tags of a data set: which slices show the target, from a CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bundle.data.labels import NEGATIVE, POSITIVE, UNTAGGED, read_label, tags_from_mask
from bundle.data.names import nearest_name

__all__ = ["FORMS", "TagTable", "read_label", "read_tags", "tags_from_mask"]

FORMS = ("case,slice,tag", "case,first,last", "case,tag")


@dataclass(frozen=True)
class _Row:
    """A row of a CSV: slices ``first`` to ``last``, both included and counted from 0, carry ``tag``."""

    where: str
    first: int
    last: int
    tag: int


@dataclass
class _CaseTags:
    """What a file says of one case."""

    where: str
    complete: bool  # slices in no row are negative, not untagged
    volume: int | None = None  # tag of the whole case, where one was given
    rows: list[_Row] = field(default_factory=list)
    by_slice: dict[int, _Row] = field(default_factory=dict)  # of the form with a row a slice


@dataclass
class TagTable:
    """Tags of a data set, as `read_tags` found them; slices count from 0.

    Args:
        tags: case to what was said of it.
        first_slice: the number that the file gives the first slice, for errors.
    """

    tags: dict[str, _CaseTags] = field(default_factory=dict)
    first_slice: int = 0

    @property
    def cases(self) -> list[str]:
        """Cases with at least one row, sorted."""
        return sorted(self.tags)

    def check_cases(self, known: Iterable[str]) -> None:
        """Raise `ValueError` for the first case that is not among ``known``."""
        known = list(known)
        for case, entry in self.tags.items():
            if case not in known:
                raise ValueError(
                    f"{entry.where}: case {case} is not in the data set; {nearest_name(case, known)} "
                    "(case ids are text: spreadsheets drop leading zeros)"
                )

    def volume_tag(self, case: str) -> int | None:
        """1 for a case that was tagged positive as a whole, whose slices stay untagged, else ``None``."""
        entry = self.tags.get(case)
        return POSITIVE if entry is not None and entry.volume == POSITIVE else None

    def for_case(self, case: str, slices: int) -> np.ndarray:
        """Tags of one case's slices.

        Args:
            case: case id; one without rows is untagged throughout.
            slices: number of slices along the third axis of the reference file as stored.

        Returns:
            (S,) int8: 1 positive, 0 negative, -1 untagged.

        Raises:
            ValueError: a slice out of range.
        """
        entry = self.tags.get(case)
        if entry is None:
            return np.full(slices, UNTAGGED, dtype=np.int8)
        tags = np.full(slices, NEGATIVE if entry.complete else UNTAGGED, dtype=np.int8)
        for row in entry.rows:
            if row.last >= slices:
                last = slices - 1 + self.first_slice
                remedy = "correct the row"
                if self.first_slice == 0 and row.last == slices:
                    remedy += ", or set `--first_slice 1` if the file counts from 1"
                raise ValueError(
                    f"{row.where}: case {case}: slices should lie in {self.first_slice} to {last} "
                    f"(found {row.last + self.first_slice}); {remedy}"
                )
            tags[row.first : row.last + 1] = row.tag
        return tags


def read_tags(path: str | Path | Sequence[str | Path], first_slice: int = 0) -> TagTable:
    """Read tags from a CSV in one of three forms, which its header names.

    - ``case,slice,tag``: tag 1 (the slice shows the target) or 0; slices without a row stay untagged.
    - ``case,first,last``: positive from first to last, both included, and negative elsewhere in the case.
      Several rows for a case add up; a row with both empty makes the whole case negative.
    - ``case,tag``: 0 for a whole healthy case, all of whose slices are negative; 1 for a case that shows the
      target somewhere: its slices stay untagged, since each may be either (`TagTable.volume_tag`).

    Args:
        path: CSV file with comma or semicolon, or several of them, as a list or with commas between. A case
            stands in one file only.
        first_slice: number that the file gives the first slice along the third axis.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unknown columns; an empty or incomplete row; a slice that is no whole number, or below
            ``first_slice``; first above last; a tag other than 0 or 1; rows that contradict; a case in two files.
            Each names file, row (the header is row 1) and case.
    """
    if first_slice not in (0, 1):
        raise ValueError(f"first_slice should be 0 or 1 (found {first_slice!r}); count from either")
    paths = [path] if isinstance(path, Path) else path.split(",") if isinstance(path, str) else path
    table = TagTable(first_slice=first_slice)
    for file in paths:
        for case, entry in _read_file(Path(str(file).strip()), first_slice).items():
            if case in table.tags:
                raise ValueError(
                    f"{entry.where}: case {case} should stand in one file "
                    f"(also in {table.tags[case].where}); remove it from one"
                )
            table.tags[case] = entry
    return table


def _read_file(path: Path, first_slice: int) -> dict[str, _CaseTags]:
    rows = _read_rows(path)
    columns = [name.lower() for name in rows[0][1]] if rows else []
    form = next((form for form in FORMS if sorted(form.split(",")) == sorted(columns)), None)
    if form is None:
        raise ValueError(
            f"{path}: the header should be one of {' | '.join(FORMS)} "
            f"(found {','.join(columns) or 'nothing'}); rename or remove columns"
        )
    if len(rows) == 1:
        raise ValueError(f"{path}: should hold at least one row of tags (found none); add rows")
    tags: dict[str, _CaseTags] = {}
    for number, cells in rows[1:]:
        where = f"{path} row {number}"
        values = dict(zip(columns, cells, strict=False))
        if len(cells) != len(columns) or not values["case"]:
            raise ValueError(f"{where}: should give {form} (found {','.join(cells)}); complete the row")
        case = values["case"]
        subject = f"{where}: case {case}"
        if form == FORMS[2]:
            _add_volume(tags, case, _tag(values["tag"], subject), where)
        else:
            _add(tags, case, _parse(form, values, subject, where, first_slice), form, where)
    return tags


def _read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and cells of every row that is not blank."""
    if not path.is_file():
        raise FileNotFoundError(f"tags file {path} does not exist; check `--tags`")
    with path.open(newline="", encoding="utf-8-sig") as stream:
        head = stream.readline()
        stream.seek(0)
        reader = csv.reader(stream, delimiter=";" if ";" in head and "," not in head else ",")
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    return [(number, cells) for number, cells in rows if any(cells)]


def _add_volume(tags: dict[str, _CaseTags], case: str, tag: int, where: str) -> None:
    """Add the tag of a whole case, unless it contradicts an earlier one."""
    entry = tags.setdefault(case, _CaseTags(where, complete=tag == NEGATIVE, volume=tag))
    if entry.volume != tag:
        raise ValueError(
            f"{where}: case {case}: this row and {entry.where} contradict (tag {tag} and {entry.volume} for one "
            "case); keep one of them"
        )


def _tag(text: str, subject: str) -> int:
    if text not in ("0", "1", "0.0", "1.0"):
        raise ValueError(f"{subject}: tag should be 0 or 1 (found {text or 'nothing'}); correct it")
    return int(float(text))


def _add(tags: dict[str, _CaseTags], case: str, row: _Row | None, form: str, where: str) -> None:
    """Add a row to its case, unless it contradicts an earlier one."""
    entry = tags.setdefault(case, _CaseTags(where, complete=form != FORMS[0]))
    if entry.where != where and (row is None) != (not entry.rows):
        raise ValueError(
            f"{where}: case {case}: this row and {entry.where} contradict (one gives a range, one, with "
            "first and last empty, calls the whole case negative); keep one of them"
        )
    if row is None:
        return
    if form == FORMS[0]:
        earlier = entry.by_slice.setdefault(row.first, row)
        if earlier.tag != row.tag:
            raise ValueError(
                f"{where}: case {case}: this row and {earlier.where} contradict (tag {row.tag} and "
                f"{earlier.tag} for one slice); keep one of them"
            )
    entry.rows.append(row)


def _parse(form: str, values: Mapping[str, str], subject: str, where: str, first_slice: int) -> _Row | None:
    """One row; ``None`` for a whole negative case."""
    if form == FORMS[1]:
        if not values["first"] and not values["last"]:
            return None
        first = _slice(values["first"], "first", subject, first_slice)
        last = _slice(values["last"], "last", subject, first_slice)
        if first > last:
            raise ValueError(
                f"{subject}: first should not be above last (found {values['first']} and {values['last']}); "
                "exchange them"
            )
        return _Row(where, first, last, POSITIVE)
    tag = _tag(values["tag"], subject)
    index = _slice(values["slice"], "slice", subject, first_slice)
    return _Row(where, index, index, tag)


def _slice(text: str, column: str, subject: str, first_slice: int) -> int:
    """Slice index counted from 0."""
    if not re.fullmatch(r"[+-]?\d+(\.0*)?", text):
        raise ValueError(
            f"{subject}: {column} should be a whole number (found {text or 'nothing'}); correct the row"
        )
    index = int(text.split(".")[0]) - first_slice
    if index < 0:
        raise ValueError(
            f"{subject}: slices count from {first_slice} (found {column} {text}); correct the row or "
            "`--first_slice`"
        )
    return index
