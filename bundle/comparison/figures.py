"""The paper's figures, drawn from results and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle.comparison.charts import draw_bars, draw_curves, save
from bundle.comparison.picture_grid import draw_grid
from bundle.comparison.ratio_chart import draw_ratios
from bundle.comparison.runs import RunResult, RunSpec
from bundle.comparison.table_values import Table
from bundle.metrics import CasePanel

CHARTS = {"curves": draw_curves, "bars": draw_bars, "ratios": draw_ratios}


def draw(
    table: Table, stem: Path, results: Sequence[RunResult], panels: Mapping[RunSpec, CasePanel] | None = None
) -> list[Path]:
    """Draw a table as its ``kind`` says, as PNG and SVG.

    Args:
        table: as laid out.
        stem: path without suffix; its folder must exist.
        results: of its runs and any others.
        panels: pictures of its runs, all of one case and slice; needed where ``kind`` is ``panels``.

    Returns:
        The files; none for a table that is only printed or has no blocks.

    Raises:
        ValueError: if pictures are needed and there are none, or they do not fit together.
    """
    if not table.blocks:
        return []
    if table.kind == "panels":
        return save(draw_grid(table, panels or {}), stem)
    chart = CHARTS.get(table.kind)
    return [] if chart is None else save(chart(table, results), stem)
