"""The comparison's charts: Dice over the threshold, and Dice of each transform."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bundle.comparison.filled import Place, fill, printed
from bundle.comparison.runs import Cell, RunResult
from bundle.comparison.table_values import Table

INK, FAINT, RULE = "#202124", "#5f6368", "#dadce0"
# Okabe and Ito's colours, which colour-blind readers tell apart; the order of the rows.
COLOURS = ("#7a7f85", "#e69f00", "#009e73", "#0072b2", "#d55e00", "#cc79a7", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SEED: dict[str, Any] = {
    "marker": "o",
    "linestyle": "",
    "color": "white",
    "markeredgecolor": INK,
    "markersize": 4,
}
THRESHOLD = 0.5  # the paper's


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and SVG; the same figure gives the same bytes.

    Args:
        figure: to write.
        stem: path without suffix; its folder must exist.

    Returns:
        The two files.
    """
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("png", "svg")]
    with matplotlib.rc_context({"svg.hashsalt": "comparison"}):
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else None
            figure.savefig(path, dpi=150, facecolor=figure.get_facecolor(), metadata=metadata)
    return paths


def mean_curves(cell: Cell, results: Iterable[RunResult]) -> tuple[tuple[float, ...], np.ndarray]:
    """Dice over the thresholds, a curve a seed; folds weigh as many patients as they tested.

    Args:
        cell: whose run and map are meant.
        results: of any runs.

    Returns:
        The thresholds, and the curves (seeds, thresholds) as fractions; no seeds if no run has the curve.

    Raises:
        ValueError: if runs were swept over different thresholds.
    """
    found: dict[int, list[tuple[int, list[float]]]] = {}
    swept = {}
    for result in sorted(results, key=lambda result: result.seed):
        if result.spec != cell.spec or cell.map not in result.curves:
            continue
        rows = result.rows.get(cell.readout, [])
        patients = sum(row.map == cell.map and row.empty_truth is False for row in rows)
        if patients:
            swept[result.thresholds] = result.folder
            found.setdefault(result.seed, []).append((patients, result.curves[cell.map]))
    if len(swept) > 1:
        folders = " and ".join(str(folder) for folder in swept.values())
        raise ValueError(
            f"{cell.spec.name}: runs should be swept over the same thresholds, found others in {folders}; "
            "evaluate them again"
        )
    curves = [
        np.average([curve for _, curve in folds], axis=0, weights=[patients for patients, _ in folds])
        for folds in found.values()
    ]
    return next(iter(swept), ()), np.array(curves)


def draw_curves(table: Table, results: Sequence[RunResult]) -> Figure:
    """Draw Dice over the threshold, a panel a modality and a line a method; shades span the seeds.

    Args:
        table: ``figure5``.
        results: of its runs; a method without a curve is left out.
    """
    block = table.blocks[0]
    figure, panels = side_by_side(len(block.columns), 2.5, 3.0)
    drawn: dict[str, Line2D] = {}
    for column, axes in enumerate(panels):
        for number, row in enumerate(block.rows):
            cell = row.cells[column]
            thresholds, curves = mean_curves(cell, results) if isinstance(cell, Cell) else ((), np.array([]))
            if not len(curves):
                continue
            colour = COLOURS[number % len(COLOURS)]
            dashes = "-" if row.label.startswith("Proposed") else (0, (4, 1.5))
            (line,) = axes.plot(
                thresholds, 100 * curves.mean(axis=0), color=colour, linestyle=dashes, linewidth=1.7
            )
            if len(curves) > 1:
                low, high = 100 * curves.min(axis=0), 100 * curves.max(axis=0)
                axes.fill_between(thresholds, low, high, color=colour, alpha=0.12, linewidth=0)
            drawn.setdefault(row.label, line)
        axes.axvline(THRESHOLD, color=FAINT, linewidth=0.8, linestyle=":")
        axes.set(xlim=(0, 1), xticks=[0, 0.5, 1], xticklabels=["0", "0.5", "1"], xlabel="threshold")
        axes.set_title(block.columns[column].label, fontsize=11, color=INK)
        axes.grid(axis="y", color=RULE, linewidth=0.6)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("Dice %")
    legend_below(figure, {row.label: drawn[row.label] for row in block.rows if row.label in drawn})
    return figure


def draw_bars(table: Table, results: Sequence[RunResult]) -> Figure:
    """Draw mean Dice as bars, a panel a modality, with a dot a seed and the first row as reference.

    Args:
        table: ``figure4``.
        results: of its runs; a missing one has no bar.
    """
    (rows,) = fill(table, results)
    block = table.blocks[0]
    figure, panels = side_by_side(len(block.columns), 2.3, 0.9 + 0.36 * len(rows))
    for column, axes in enumerate(panels):
        for number, row in enumerate(rows):
            place = row[column]
            if place.value is None:
                continue
            axes.barh(number, place.figure, height=0.62, color=COLOURS[0] if number == 0 else COLOURS[3])
            _dots(axes, place, number)
            end = max([place.figure, *(printed(value, place.metric) for value in place.value.by_seed)])
            axes.annotate(
                f"{place.figure:.1f}",
                (end, number),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=INK,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},  # above the reference line
                zorder=5,
            )
        if rows[0][column].value is not None:
            axes.axvline(rows[0][column].figure, color=INK, linewidth=0.9, linestyle=":")
        axes.set_title(block.columns[column].label, fontsize=11, color=INK)
        axes.set(xlabel="Dice %", yticks=range(len(rows)), yticklabels=[row.label for row in block.rows])
        axes.tick_params(axis="y", length=0)
    figures = [place.figure for row in rows for place in row if not math.isnan(place.figure)]
    for axes in panels:
        axes.set_xlim(0, min(100.0, 1.35 * max(figures, default=70.0)))
    panels[0].invert_yaxis()
    signs = {f"mean without equivariance ({block.rows[0].label})": Line2D([], [], color=INK, linestyle=":")}
    if any(place.value is not None and len(place.value.by_seed) > 1 for row in rows for place in row):
        signs["a seed"] = Line2D([], [], **SEED)
    legend_below(figure, signs)
    return figure


def _dots(axes: Axes, place: Place, level: float) -> None:
    """Draw a dot for each of several seeds."""
    if place.value is not None and len(place.value.by_seed) > 1:
        values = [printed(value, place.metric) for value in place.value.by_seed]
        axes.plot(values, [level] * len(values), zorder=3, **SEED)


def side_by_side(number: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Panels side by side with common axes; width and height of each in inches."""
    figure = Figure(figsize=(0.9 + number * width, height + 0.9), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(1, number, sharex=True, sharey=True, squeeze=False)[0])
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT)
        axes.tick_params(colors=FAINT, labelcolor=INK, labelsize=9)
    return figure, panels


def legend_below(figure: Figure, signs: dict[str, Line2D]) -> None:
    """Name the signs below all panels."""
    if signs:
        columns = min(4, len(signs))
        figure.legend(signs.values(), signs, loc="outside lower center", ncols=columns, frameon=False)
