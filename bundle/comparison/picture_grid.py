"""The qualitative grid: the masks of all methods on one slice, truth last."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from bundle.comparison.runs import Cell, RunSpec
from bundle.comparison.table_values import Table
from bundle.metrics import CasePanel
from bundle.metrics.contact_sheet import BACKGROUND, FAINT, MASK, TEXT, TRUTH

# Inches: a panel's longer side, the gap between panels, and what surrounds them.
PANEL, GAP, LEFT, TOP, BOTTOM = 1.65, 0.04, 0.8, 0.62, 0.12
FILL = 0.35  # opacity of a mask


def draw_grid(table: Table, panels: Mapping[RunSpec, CasePanel]) -> Figure:
    """Draw rows of modalities and columns of methods; a mask lies over its image, the true one in the last column.

    Args:
        table: ``figure6``, ``figure7`` or ``figure8``.
        panels: of the runs, all of one case and slice; a run without one leaves its column empty.

    Raises:
        ValueError: if there is no panel of the table's runs, or they show different cases or slices.
    """
    shown = {spec: panels[spec] for spec in table.specs if spec in panels}
    if not shown:
        raise ValueError(
            f"{table.name}: expected a picture of at least one of its runs, found none; run them first"
        )
    slices = {(panel.case, panel.slice_index) for panel in shown.values()}
    if len(slices) > 1:
        found = ", ".join(f"case {case} slice {index}" for case, index in sorted(slices))
        raise ValueError(f"{table.name}: pictures should show one slice of one case, found {found}")
    block = table.blocks[0]
    first = next(iter(shown.values()))
    heads = [row.label for row in block.rows] + ([] if first.truth is None else ["Truth"])
    tallest = max(panel.size_mm[0] for panel in shown.values())
    widest = max(panel.size_mm[1] for panel in shown.values())
    height = PANEL * tallest / max(tallest, widest)
    width = PANEL * widest / max(tallest, widest)
    size = (
        LEFT + len(heads) * (width + GAP) + BOTTOM,
        TOP + len(block.columns) * (height + GAP) + BOTTOM,
    )
    figure = Figure(figsize=size, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    title = f"case {first.case}  ·  slice {first.slice_index}"
    figure.text(LEFT / size[0], 1 - 0.1 / size[1], title, color=FAINT, fontsize=8, va="top")
    for line, column in enumerate(block.columns):
        bottom = size[1] - TOP - (line + 1) * height - line * GAP
        middle = (bottom + height / 2) / size[1]
        x = (LEFT - 0.1) / size[0]
        figure.text(x, middle, column.label, color=TEXT, fontsize=10, ha="right", va="center")
        for number, head in enumerate(heads):
            box = (LEFT + number * (width + GAP), bottom, width, height)
            axes = figure.add_axes(
                (box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1]),
                label=f"{column.label} {head}",
            )
            axes.set_axis_off()
            if line == 0:
                axes.set_title(head, color=TEXT, fontsize=9.5, pad=4)
                if number == 0:
                    axes.text(0.03, 0.03, first.left, color=TEXT, fontsize=8, transform=axes.transAxes)
            if number < len(block.rows):
                cell = block.rows[number].cells[line]
                assert isinstance(cell, Cell)
                _draw(axes, shown.get(cell.spec), cell.map, is_truth=False)
            else:
                cell = next(row.cells[line] for row in block.rows if _has_panel(row.cells[line], shown))
                assert isinstance(cell, Cell)
                _draw(axes, shown[cell.spec], cell.map, is_truth=True)
    return figure


def _has_panel(cell: object, shown: Mapping[RunSpec, CasePanel]) -> bool:
    return isinstance(cell, Cell) and cell.spec in shown


def _draw(axes: Axes, panel: CasePanel | None, name: str, is_truth: bool) -> None:
    if panel is None or name not in panel.names:
        axes.text(0.5, 0.5, "no result", color=FAINT, fontsize=8, ha="center", va="center")
        return
    index = panel.names.index(name)
    height, width = panel.images.shape[1:]
    extent = (0.0, width, height, 0.0)
    image = panel.images[index]
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="bilinear")
    mask = panel.truth if is_truth else panel.masks[index]
    if mask is not None and mask.any():
        _lay_over(axes, mask, TRUTH if is_truth else MASK)
    axes.set_aspect((panel.size_mm[0] / height) / (panel.size_mm[1] / width))


def _lay_over(axes: Axes, mask: np.ndarray, colour: str) -> None:
    """Tint a mask and outline it."""
    height, width = mask.shape
    tint = np.zeros((height, width, 4))
    tint[mask] = to_rgba(colour, FILL)
    axes.imshow(tint, extent=(0.0, width, height, 0.0), interpolation="nearest")
    # A rim of background closes the outline of a mask that touches the picture's edge.
    padded = np.pad(mask, 1).astype(np.float32)
    x, y = np.arange(width + 2) - 0.5, np.arange(height + 2) - 0.5
    axes.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=1.0)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
