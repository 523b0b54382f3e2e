"""The chart of under and over ratios, which may be infinite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bundle.comparison.charts import COLOURS, FAINT, INK, MARKERS, RULE, legend_below, side_by_side
from bundle.comparison.filled import Place, fill
from bundle.comparison.footnotes import INFINITE
from bundle.comparison.runs import RunResult
from bundle.comparison.table_values import Table

WIDE_RANGE = 20  # from the smallest to the largest ratio: beyond it, the axis is logarithmic


def draw_ratios(table: Table, results: Sequence[RunResult]) -> Figure:
    """Draw the under and over ratios, a panel each, a line a modality and a mark a method; lower is better.

    Args:
        table: ``table5``.
        results: of its runs; a missing one has no mark. Infinite ratios stand beyond a dotted rule, at ∞.
    """
    (rows,) = fill(table, results)
    block = table.blocks[0]
    kinds = list(dict.fromkeys(row.label for row in block.rows))
    groups = list(dict.fromkeys(row.group for row in block.rows))
    figure, panels = side_by_side(len(kinds), 3.4, 0.9 + 0.45 * len(groups))
    drawn: dict[str, Line2D] = {}
    axis = _RatioAxis.of(place for row in rows for place in row)
    for places in rows:
        axes, level = panels[kinds.index(places[0].row.label)], groups.index(places[0].row.group)
        axes.axhline(level, color=RULE, linewidth=0.8, zorder=0)
        for number, place in enumerate(places):
            if place.value is None or math.isnan(place.figure):
                continue
            # Methods lie a little above each other, so that equal ratios stay visible.
            height = level + 0.13 * (number - (len(places) - 1) / 2)
            colour = COLOURS[(number + 1) % len(COLOURS)]
            seeds = [axis.place(value) for value in place.value.by_seed]
            axes.plot(seeds, [height] * len(seeds), ".", color=colour, alpha=0.45)
            shape = MARKERS[number % len(MARKERS)]
            (mark,) = axes.plot(axis.place(place.figure), height, shape, color=colour, markersize=7)
            drawn.setdefault(place.column.label, mark)
    titles = {"r_u": "missed: FN / TP", "r_o": "too much: FP / TP"}
    for axes, kind in zip(panels, kinds, strict=True):
        axes.set_title(titles.get(kind, kind), fontsize=11, color=INK)
        axes.set(yticks=range(len(groups)), yticklabels=groups, xlabel="median ratio, lower is better")
        axes.tick_params(axis="y", length=0)
        axis.lay_out(axes)
    panels[0].set_ylim(len(groups) - 0.5, -0.5)
    legend_below(figure, drawn)
    return figure


@dataclass(frozen=True)
class _RatioAxis:
    """Where ratios stand.

    Args:
        largest: of the finite ones.
        is_wide: whether the axis is logarithmic.
        has_infinite: whether there is a place for those beyond.
    """

    largest: float
    is_wide: bool
    has_infinite: bool

    @classmethod
    def of(cls, places: Iterable[Place]) -> _RatioAxis:
        ratios = [ratio for place in places if place.value for ratio in (place.figure, *place.value.by_seed)]
        finite = [ratio for ratio in ratios if math.isfinite(ratio) and ratio > 0]
        is_wide = bool(finite) and max(finite) > WIDE_RANGE * min(finite)
        return cls(max(finite, default=1.0), is_wide, math.inf in ratios)

    def place(self, ratio: float) -> float:
        """Itself; of an infinite one the place beyond all others."""
        return ratio if not math.isinf(ratio) else self.largest * (3.0 if self.is_wide else 1.25)

    def lay_out(self, axes: Axes) -> None:
        """Scale and limits, and the mark of infinity."""
        end = self.place(math.inf)
        if self.is_wide:
            axes.set_xscale("log")
        else:
            axes.set_xlim(0, 1.08 * end if self.has_infinite else 1.1 * self.largest)
        if self.has_infinite:
            rule = math.sqrt(self.largest * end) if self.is_wide else (self.largest + end) / 2
            axes.axvline(rule, color=FAINT, linewidth=0.9, linestyle=":")
            start = axes.get_xlim()[0]
            axes.set_xticks([tick for tick in axes.get_xticks() if start <= tick < rule])
            # below the axis line, where tick labels stand
            axes.annotate(
                INFINITE,
                (end, 0),
                xytext=(0, -4),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=11,
                color=INK,
            )
