"""A table as a value: which figure of which run stands in which cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bundle.comparison.runs import Cell, RunSpec


@dataclass(frozen=True)
class Gain:
    """A cell that holds the difference of two others (Table 7).

    Args:
        of: the cell that is to be better.
        over: the one it is compared with.
    """

    of: Cell
    over: Cell


@dataclass(frozen=True)
class Column:
    """A column's heading.

    Args:
        label: a modality, a combination or a method.
        metric: what its cells hold; blank where the rows say it.
        in_paper: false for a method that was added to the table.
    """

    label: str
    metric: str = ""
    in_paper: bool = True


@dataclass(frozen=True)
class Row:
    """A line of a block.

    Args:
        group: what it stands under: the readout, a modality (Table 5) or the anatomy (Table 7).
        label: method, ratio or combination.
        cells: one a column; ``None`` where the paper has none.
        in_paper: false for a method that was added to the table.
        against: in a table of steps, the cell that the row's Dice is compared with.
    """

    group: str
    label: str
    cells: tuple[Cell | Gain | None, ...]
    in_paper: bool = True
    against: Cell | None = None


@dataclass(frozen=True)
class Block:
    """Rows with common columns.

    Args:
        title: blank if the table has only this one.
        columns: headings.
        rows: group by group.
        best: within a group of a column (``column``), or within a row (``row``), the best figure is bold.
        ticks: names of parts, one a tick column before the cells; a row ticks those its label names.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    best: str = "column"
    ticks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table, or the figures behind a picture.

    Args:
        name: ``table1`` … ``table7``, ``figure4`` … ``figure8``, ``beyond`` or ``few``.
        title: what it shows.
        blocks: its parts; none if the data set lacks what they need.
        kind: how it is shown: ``table``, ``ratios``, ``bars``, ``curves`` or ``panels`` (in pictures rows are methods),
            ``steps`` or ``shares``.
        notes: what a reader must know.
        left_out: combinations of the paper that the data set has no modalities for, each with the reason.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]
    kind: str = "table"
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def cells(self) -> list[Cell]:
        """All cells, each once, in reading order; of a gain both sides."""
        found: dict[Cell, None] = {}
        for block in self.blocks:
            for row in block.rows:
                found.update(dict.fromkeys(_flatten(row.cells)))
        return list(found)

    @property
    def specs(self) -> list[RunSpec]:
        """The runs it needs, each once, in reading order."""
        return list(dict.fromkeys(cell.spec for cell in self.cells))


def _flatten(cells: Sequence[Cell | Gain | None]) -> Iterator[Cell]:
    for cell in cells:
        if isinstance(cell, Gain):
            yield from (cell.of, cell.over)
        elif cell is not None:
            yield cell
