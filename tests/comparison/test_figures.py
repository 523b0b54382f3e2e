"""Pictures show what the results say; equal results give equal files."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bundle.comparison import Cell, RunSpec, lay_out
from bundle.comparison.charts import draw_bars, draw_curves, mean_curves
from bundle.comparison.figures import draw
from bundle.comparison.picture_grid import draw_grid
from bundle.comparison.ratio_chart import draw_ratios
from bundle.metrics import make_panel
from tests.comparison.made_results import PAIR, case_row, run_result

CAM, PROPOSED = RunSpec("cam", PAIR), RunSpec("proposed", PAIR)
SEEDS = [run_result(CAM, {"a": 0.4, "b": 0.6}, 0), run_result(CAM, {"a": 0.6, "b": 0.6}, 1)]
FLAIR = Cell(CAM, "cam", "flair", "dice")


def panel(spec: RunSpec, case: str = "017", depth: int = 2):
    """A slice with a square lesion; the maps hit it, and more with each modality."""
    images = np.ones((len(spec.modalities), 20, 20, 4), dtype=np.float32)
    truth = np.zeros((20, 20, 4))
    truth[8:12, 8:12, depth] = 1
    cams = np.zeros((len(spec.modalities) + 1, 20, 20, 4), dtype=np.float32)
    for number, cam in enumerate(cams):
        cam[8 - number : 12, 8:12, depth] = 0.9
    names = (*spec.modalities, "fused")
    grid = {"names": names, "spacing_mm": (1, 1, 3), "affine": np.eye(4)}
    return make_panel(case, cams, cams > 0.5, images, truth, **grid)


def axes_named(figure, label):
    (found,) = [axes for axes in figure.axes if axes.get_label() == label]
    return found


def test_curves_of_folds_weigh_their_patients():
    folds = [
        replace(run_result(CAM, {"a": 0.5}, 0, 0), curves={"flair": [0.1, 0.2, 0.3]}),
        replace(run_result(CAM, {"b": 0.5, "c": 0.5}, 0, 1), curves={"flair": [0.4, 0.8, 0.9]}),
    ]
    thresholds, curves = mean_curves(FLAIR, folds)
    assert thresholds == (0.25, 0.5, 0.75)
    assert curves == pytest.approx(np.array([[0.3, 0.6, 0.7]]))  # (0.1 + 2 * 0.4) / 3 and so on


def test_curves_over_different_thresholds_are_an_error():
    with pytest.raises(ValueError, match="the same thresholds"):
        mean_curves(FLAIR, [SEEDS[0], replace(SEEDS[1], thresholds=(0.1, 0.2, 0.3))])


def test_a_panel_a_modality_with_the_mean_of_the_seeds():
    other = replace(SEEDS[1], curves={name: [0.4, 0.8, 0.6] for name in SEEDS[1].curves})
    figure = draw_curves(lay_out("figure5", PAIR), [SEEDS[0], other])
    assert [axes.get_title() for axes in figure.axes] == ["T1c", "FLAIR"]
    line, middle = figure.axes[0].lines
    assert line.get_ydata() == pytest.approx([30, 70, 50])
    assert list(middle.get_xdata()) == [0.5, 0.5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Baseline"]


def test_a_bar_a_transform_and_a_dot_a_seed():
    figure = draw_bars(
        lay_out("figure4", PAIR), [*SEEDS, run_result(RunSpec("er", PAIR), {"a": 0.8, "b": 0.8})]
    )
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([55, 80])
    assert axes.lines[0].get_xdata() == pytest.approx([50, 60])
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["None", "Flip"]


def test_ratios_have_a_panel_each_and_a_mark_a_method():
    figure = draw_ratios(lay_out("table5", PAIR), [run_result(PROPOSED, {"a": 0.5})])
    assert [axes.get_title() for axes in figure.axes] == ["missed: FN / TP", "too much: FP / TP"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Proposed"]


@pytest.mark.parametrize("largest", [2.0, 500.0])  # with and without a logarithmic axis
def test_an_infinite_ratio_stands_beyond_all_others_and_is_named(largest):
    ratios = {"er_scale": 1.0, "er": largest, "proposed": math.nan}
    results = [
        replace(SEEDS[0], spec=RunSpec(m, PAIR), rows={"cam": [case_row("a", "t1c", 0.1, under_ratio=ratio)]})
        for m, ratio in ratios.items()
    ]
    axes = draw_ratios(lay_out("table5", PAIR), results).axes[0]
    marks = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in ("o", "s", "^")]
    assert marks[:2] == [1.0, largest]
    assert largest < marks[2] <= 3 * largest
    assert max(axes.get_xticks()) < marks[2]
    assert [text.get_text() for text in axes.texts] == ["∞"]


def test_the_grid_has_modalities_as_rows_methods_as_columns_and_truth_last():
    figure = draw_grid(lay_out("figure7", PAIR), {PROPOSED: panel(PROPOSED)})
    labels = [axes.get_label() for axes in figure.axes]
    assert labels == [
        f"{m} {h}" for m in ("T1c", "FLAIR", "Fused") for h in ("Augmentation", "Proposed", "Truth")
    ]
    tint = axes_named(figure, "FLAIR Proposed").images[1].get_array()[..., 3] > 0
    assert (tint == panel(PROPOSED).masks[0]).all()  # the run's first map is FLAIR's
    assert axes_named(figure, "FLAIR Augmentation").texts[-1].get_text() == "no result"
    truth = axes_named(figure, "Fused Truth").images[1].get_array()[..., 3] > 0
    assert (truth == panel(PROPOSED).truth).all()


def test_pictures_of_different_slices_are_an_error():
    table = lay_out("figure6", PAIR)
    with pytest.raises(ValueError, match="case 017 slice 1, case 017 slice 2"):
        draw_grid(table, {CAM: panel(CAM), PROPOSED: panel(PROPOSED, depth=1)})
    with pytest.raises(ValueError, match="expected a picture of at least one of its runs"):
        draw_grid(table, {})


@pytest.mark.parametrize("name", ["figure4", "figure5", "figure6", "table5"])
def test_equal_results_give_equal_files(name, tmp_path: Path):
    table, panels = lay_out(name, PAIR), {CAM: panel(CAM)}
    first, second = (
        draw(table, tmp_path / stem, [*SEEDS, run_result(PROPOSED, {"a": 0.5})], panels)
        for stem in ("a", "b")
    )
    assert [path.name for path in first] == ["a.png", "a.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize("name", ["figure4", "figure5", "table5"])
def test_a_figure_without_results_is_drawn_empty(name, tmp_path: Path):
    assert len(draw(lay_out(name, PAIR), tmp_path / "empty", [])) == 2


def test_printed_tables_have_no_picture(tmp_path: Path):
    assert draw(lay_out("table1", PAIR), tmp_path / "a", SEEDS) == []
    assert draw(lay_out("figure8", PAIR), tmp_path / "a", SEEDS) == []
