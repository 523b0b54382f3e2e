"""The contact sheet: image, CAM, mask and truth of a few cases in one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from bundle.metrics.case_panel import CasePanel
from bundle.metrics.case_scores import CaseScores
from bundle.metrics.mask_rule import MaskRule

BACKGROUND = "#101216"
TEXT = "#e8eaed"
FAINT = "#9aa0a6"
MASK = "#00d5ff"
TRUTH = "#7dff5c"
CAM_COLOURS = "inferno"
SYMBOLS = {"probability": "p"}  # of what a map shows, where the legend has no room
# Inches: a panel's longer side, the gap between panels, and what surrounds a block of panels.
PANEL, GAP, LEFT, TOP, BOTTOM, BLOCK_GAP = 1.65, 0.04, 0.85, 0.78, 0.5, 0.2


@dataclass(frozen=True)
class SheetBlock:
    """One case on the sheet.

    Args:
        title: why the case is shown (``best``, ``median``, ``worst`` …).
        panel: its slice.
        scores: its figures, printed beside the maps; ``None`` prints none.
    """

    title: str
    panel: CasePanel
    scores: CaseScores | None = None


def pick_cases(scores: Sequence[CaseScores]) -> dict[str, str]:
    """Choose the cases to show: best, median and worst by fused Dice among the cases with a lesion.

    The median case is the one in the middle (the better of the two for an even number). Without any lesion,
    the cases with the largest fused prediction are taken.

    Returns:
        Case id by title; fewer than three if there are fewer cases, with joined titles.
    """
    with_truth = [entry for entry in scores if entry.fused.empty_truth is False]
    if not with_truth:
        return pick_largest({entry.case: entry.fused.prediction_ml for entry in scores})
    ranked = sorted(with_truth, key=lambda entry: (-entry.fused.dice, entry.case))
    chosen = {"best": ranked[0], "median": ranked[(len(ranked) - 1) // 2], "worst": ranked[-1]}
    titles: dict[str, list[str]] = {}
    for title, entry in chosen.items():
        titles.setdefault(entry.case, []).append(title)
    return {", ".join(parts): case for case, parts in titles.items()}


def pick_largest(prediction_ml: dict[str, float], number: int = 3) -> dict[str, str]:
    """Choose the cases with the largest prediction; what an inference without masks can show.

    Args:
        prediction_ml: volume of the fused mask by case.
        number: how many to take at most.

    Returns:
        Case id by title.
    """
    ranked = sorted(prediction_ml, key=lambda case: (-prediction_ml[case], case))[:number]
    ranks = ["largest prediction", "second largest", "third largest"]
    return {ranks[i] if i < len(ranks) else f"prediction {i + 1}": case for i, case in enumerate(ranked)}


def draw_contact_sheet(
    path: Path | str, blocks: Sequence[SheetBlock], rule: MaskRule, shown: str = "CAM"
) -> Figure:
    """Draw cases side by side; rows are the maps, columns image, map, mask and, where it is known, truth.

    Args:
        path: PNG file to write; its folder must exist.
        blocks: the cases, left to right; all with the same maps.
        rule: what made the masks, for the legend.
        shown: what the maps are, ``CAM`` or ``probability``.

    Returns:
        The figure, as drawn.

    Raises:
        ValueError: if there is no case, or one has other maps than the first.
    """
    if not blocks:
        raise ValueError("a contact sheet needs at least one case, found none; check the data list")
    names = blocks[0].panel.names
    for block in blocks:
        if block.panel.names != names:
            raise ValueError(
                f"case {block.panel.case}: expected the maps {names}, found {block.panel.names}; "
                "draw only cases with the same modalities"
            )
    columns = ["image", shown, "mask"]
    if any(block.panel.truth is not None for block in blocks):
        columns.append("truth")
    # One box for all panels, as high and as wide as the largest slice; smaller ones are centred in it.
    tallest = max(block.panel.size_mm[0] for block in blocks)
    widest = max(block.panel.size_mm[1] for block in blocks)
    cell_height = PANEL * tallest / max(tallest, widest)
    cell_width = PANEL * widest / max(tallest, widest)
    block_width = LEFT + len(columns) * (cell_width + GAP)
    width = len(blocks) * block_width + (len(blocks) + 1) * BLOCK_GAP
    height = TOP + len(names) * (cell_height + GAP) + BOTTOM
    figure = Figure(figsize=(width, height), facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    for number, block in enumerate(blocks):
        left = BLOCK_GAP + number * (block_width + BLOCK_GAP)
        _draw_title(figure, block, (left + LEFT) / width, 1 - 0.14 / height)
        for row in range(len(names)):
            bottom = height - TOP - (row + 1) * cell_height - row * GAP
            for column, kind in enumerate(columns):
                x = left + LEFT + column * (cell_width + GAP)
                box = (x / width, bottom / height, cell_width / width, cell_height / height)
                axes = figure.add_axes(box, label=f"{block.panel.case} {names[row]} {kind}")
                _draw_panel(axes, block.panel, row, kind)
                if row == 0:
                    axes.set_title(kind, color=FAINT, fontsize=9, pad=3)
            middle = (bottom + cell_height / 2) / height
            _draw_row_label(figure, block, row, (left + LEFT - 0.1) / width, middle)
    _draw_legend(figure, rule, SYMBOLS.get(shown, shown), "truth" in columns)
    figure.savefig(path, dpi=150, facecolor=BACKGROUND)
    return figure


def _draw_panel(axes: Axes, panel: CasePanel, row: int, kind: str) -> None:
    """Draw one cell: the image, and over it the map's colours or an outline."""
    height, width = panel.images.shape[1:]
    extent = (0.0, width, height, 0.0)
    axes.set_axis_off()
    axes.imshow(panel.images[row], cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="bilinear")
    if kind not in ("image", "mask", "truth"):
        cam = panel.cams[row] / 255.0
        colours = colormaps[CAM_COLOURS](cam)
        colours[..., 3] = np.clip(1.5 * cam, 0.0, 0.8)  # where the map is low, the anatomy stays visible
        axes.imshow(colours, extent=extent, interpolation="nearest")
    elif kind == "mask":
        _outline(axes, panel.masks[row], MASK)
    elif kind == "truth" and panel.truth is not None:
        _outline(axes, panel.truth, TRUTH)
    elif kind == "truth":
        axes.text(width / 2, height / 2, "no mask", color=FAINT, fontsize=8, ha="center", va="center")
    axes.set_aspect((panel.size_mm[0] / height) / (panel.size_mm[1] / width))
    if row == 0 and kind == "image":
        axes.text(0.03, 0.03, panel.left, color=TEXT, fontsize=8, transform=axes.transAxes)


def _outline(axes: Axes, mask: np.ndarray, colour: str) -> None:
    if not mask.any():
        return
    # A rim of background closes the outline of a mask that touches the picture's edge.
    padded = np.pad(mask, 1).astype(np.float32)
    height, width = padded.shape
    x, y = np.arange(width) - 0.5, np.arange(height) - 0.5  # pixel centres in the picture's coordinates
    axes.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=1.1)
    axes.set_xlim(0, width - 2)
    axes.set_ylim(height - 2, 0)


def _draw_title(figure: Figure, block: SheetBlock, x: float, y: float) -> None:
    panel = block.panel
    dice = "" if block.scores is None else _percent(block.scores.fused.dice, prefix="  ·  fused Dice ")
    figure.text(x, y, f"{block.title}{dice}", color=TEXT, fontsize=12, weight="bold", va="top")
    offset = 0.24 / figure.get_figheight()
    details = f"case {panel.case}  ·  slice {panel.slice_index}"
    figure.text(x, y - offset, details, color=FAINT, fontsize=9, va="top")


def _draw_row_label(figure: Figure, block: SheetBlock, row: int, x: float, y: float) -> None:
    label = block.panel.names[row]
    if block.scores is not None:
        dice = {scored.map: scored.dice for scored in block.scores.rows}.get(label, math.nan)
        label += _percent(dice, prefix="\n")
    size = min(10.0, 90.0 / max(len(line) for line in label.splitlines()))  # nine letters fill the margin
    figure.text(x, y, label, color=TEXT, fontsize=size, ha="right", va="center", linespacing=1.4)


def _percent(dice: float, prefix: str) -> str:
    return "" if math.isnan(dice) else f"{prefix}{100 * dice:.1f} %"


def _draw_legend(figure: Figure, rule: MaskRule, symbol: str, with_truth: bool) -> None:
    """Draw the colour bar of the maps and the colours of the outlines along the bottom."""
    width, height = figure.get_size_inches()
    x = BLOCK_GAP + LEFT
    y = 0.2 / height
    figure.text(x / width, y, f"{symbol} 0", color=FAINT, fontsize=9, va="center")
    bar = figure.add_axes(((x + 0.55) / width, 0.15 / height, 1.1 / width, 0.1 / height), label="colour bar")
    scale = figure.colorbar(
        ScalarMappable(Normalize(0, 1), cmap=CAM_COLOURS),
        cax=bar,
        orientation="horizontal",
        ticks=[] if isinstance(rule.threshold, str) else [rule.threshold],
    )
    scale.outline.set_visible(False)  # type: ignore[operator]
    bar.tick_params(labelbottom=False, bottom=False, top=True, color=FAINT, length=3)
    figure.text((x + 1.72) / width, y, "1", color=FAINT, fontsize=9, va="center")
    figure.text((x + 2.05) / width, y, _legend_of(rule, symbol), color=MASK, fontsize=9, va="center")
    if with_truth:
        figure.text(
            (x + (3.95 if rule.steps else 3.4)) / width, y, "truth", color=TRUTH, fontsize=9, va="center"
        )


def _legend_of(rule: MaskRule, symbol: str) -> str:
    """Short enough for the narrowest sheet."""
    made = f"by {rule.threshold}" if isinstance(rule.threshold, str) else f"{symbol} > {rule.threshold:g}"
    return f"mask: {made}{', tidied' if rule.steps else ''}"
