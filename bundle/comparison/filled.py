"""A table with the figures of its cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bundle.comparison.paper_cells import is_rival
from bundle.comparison.published import PublishedFigure, published_figure
from bundle.comparison.runs import Cell, RunResult
from bundle.comparison.statistics import CellValue, evaluate
from bundle.comparison.table_values import Block, Column, Gain, Row, Table

HIGHER_IS_BETTER = ("dice",)


@dataclass(frozen=True)
class Place:
    """A cell where it stands.

    Args:
        block: it belongs to.
        row: likewise.
        column: likewise.
        cell: which figure; ``None`` where the paper has none.
        value: that figure; ``None`` if no run has it.
        published: the paper's.
        is_best: whether it is the best of its rivals; never if all are equal, for full supervision, or where undefined
            values are left out, since a method that finds nothing in hard patients has none for them.
    """

    block: Block
    row: Row
    column: Column
    cell: Cell | Gain | None
    value: CellValue | None
    published: PublishedFigure | None
    is_best: bool = False

    @property
    def metric(self) -> str:
        """What it holds."""
        cell = self.cell.of if isinstance(self.cell, Gain) else self.cell
        return self.column.metric if cell is None else cell.metric

    @property
    def figure(self) -> float:
        """Mean in the unit of print: Dice in %, ASSD in mm; nan if there is none."""
        return math.nan if self.value is None else printed(self.value.mean, self.metric)


def printed(value: float, metric: str) -> float:
    """A value in the unit of print: Dice in %, all else as it is."""
    return 100 * value if metric == "dice" else value


def digits(metric: str) -> int:
    """Decimals in print."""
    return 1 if metric == "dice" else 2


def fill(table: Table, results: Sequence[RunResult]) -> list[list[list[Place]]]:
    """Put the figures in.

    Args:
        table: as laid out.
        results: of its runs and any others.

    Returns:
        Block by block and row by row, the cells of the row.
    """
    return [_fill_block(table, block, results) for block in table.blocks]


def _fill_block(table: Table, block: Block, results: Sequence[RunResult]) -> list[list[Place]]:
    rows = []
    for row in block.rows:
        places = []
        for column, cell in zip(block.columns, row.cells, strict=True):
            value = None if cell is None else evaluate(cell, results)
            published = published_figure(
                table.name, block.title, row.group, row.label, column.label, column.metric
            )
            places.append(Place(block, row, column, cell, value, published))
        rows.append(places)
    return [[_mark_best(place, rows) for place in row] for row in rows]


def _mark_best(place: Place, rows: Sequence[Sequence[Place]]) -> Place:
    """Compare with the other methods: those of the row, or those of the column in the same group."""
    rivals = [
        round(other.figure, digits(other.metric))
        for row in rows
        for other in row
        if _may_be_best(other)
        if (other.row is place.row if place.block.best == "row" else _same_column(other, place))
    ]
    if not _may_be_best(place) or len(set(rivals)) < 2:
        return place
    best = max(rivals) if place.metric in HIGHER_IS_BETTER else min(rivals)
    return replace(place, is_best=round(place.figure, digits(place.metric)) == best)


def _may_be_best(place: Place) -> bool:
    return (
        isinstance(place.cell, Cell)
        and is_rival(place.cell)
        and place.value is not None
        and not math.isnan(place.figure)
        and place.value.n_undefined == 0
    )


def _same_column(one: Place, other: Place) -> bool:
    return one.column is other.column and one.row.group == other.row.group
