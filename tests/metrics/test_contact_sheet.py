"""The slice that is shown, upright, and the sheet made of such slices."""

import itertools

import numpy as np
import pytest

from bundle.data.geometry import SliceGeometry
from bundle.metrics import (
    CaseScores,
    MaskRule,
    SheetBlock,
    draw_contact_sheet,
    make_panel,
    pick_cases,
    pick_largest,
    score_case,
    upright_slice,
)

NAMES = ("flair", "t1c", "fused")
SPACING_MM = (1.0, 2.0, 5.0)


def affine_towards(codes: tuple[str, ...]) -> np.ndarray:
    """Affine of a volume whose axes run towards these sides of the patient."""
    affine = np.eye(4)
    for axis, code in enumerate(codes):
        affine[:3, axis] = {"R": (1, 0, 0), "A": (0, 1, 0), "S": (0, 0, 1)}.get(code, (0, 0, 0))
        affine[:3, axis] -= {"L": (1, 0, 0), "P": (0, 1, 0), "I": (0, 0, 1)}.get(code, (0, 0, 0))
    return affine


def case_arrays(shift: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (2, 20, 16, 5), truth with its largest area in slice 3, and maps moved by some voxels."""
    rng = np.random.default_rng(shift)
    images = np.zeros((2, 20, 16, 5), dtype=np.float32)
    images[:, 3:17, 3:13] = rng.random((2, 14, 10, 5)) + 1
    truth = np.zeros((20, 16, 5), dtype=np.uint8)
    truth[6:10, 6:9, 2] = 1
    truth[6:12, 6:10, 3] = 1
    cams = np.stack([np.roll(truth, shift, axis=0) * 0.9] * 3).astype(np.float32)
    return images, truth, cams


def block(title: str, shift: int, with_truth: bool = True) -> SheetBlock:
    images, truth, cams = case_arrays(shift)
    mask = truth if with_truth else None
    found, grid = cams > 0.5, {"names": NAMES, "spacing_mm": SPACING_MM}
    panel = make_panel(title, cams, found, images, mask, **grid, affine=np.eye(4))
    return SheetBlock(title, panel, score_case(title, cams, found, mask, **grid))


@pytest.mark.parametrize("codes", list(itertools.product("LR", "AP", "IS")))
def test_axial_slices_show_the_nose_on_top_and_the_right_side_on_the_left(codes):
    # World picture: value 10 x (towards posterior) + (towards left), for three by two voxels.
    picture = np.array([[0, 1], [10, 11], [20, 21]])
    stored = picture.T  # x towards left, y towards posterior
    stored = stored if codes[0] == "L" else stored[::-1]
    stored = stored if codes[1] == "P" else stored[:, ::-1]
    assert (upright_slice(stored, affine_towards(codes)) == picture).all()


def test_swapped_axes_are_swapped_back():
    picture = np.array([[0, 1], [10, 11], [20, 21]])
    assert (upright_slice(picture, affine_towards(("P", "L", "S"))) == picture).all()


def test_sagittal_slices_show_the_front_on_the_left_and_the_head_on_top():
    stored = np.array([[0, 10, 20], [1, 11, 21]])  # first axis towards posterior, second towards inferior
    upright = upright_slice(stored, affine_towards(("P", "I", "R")))
    assert (upright == np.array([[0, 1], [10, 11], [20, 21]])).all()


@pytest.mark.parametrize("codes", [("L", "P", "S"), ("R", "A", "S"), ("A", "S", "R"), ("S", "R", "A")])
def test_pictures_are_turned_as_the_slices_of_training_are(codes):
    volume = np.arange(4 * 4 * 3, dtype=np.float32).reshape(4, 4, 3)
    slices = SliceGeometry.from_scan(volume.shape, affine_towards(codes)).apply(volume, "nearest")
    assert (upright_slice(volume[..., 1], affine_towards(codes)) == np.asarray(slices[1])).all()


def test_the_slice_with_most_truth_is_shown():
    panel = block("017", 2).panel
    assert panel.slice_index == 3
    assert panel.truth.sum() == 24
    assert panel.masks[-1].sum() == 24
    assert not (panel.truth == panel.masks[-1]).all()


def test_without_truth_the_slice_with_the_largest_fused_mask_is_shown():
    panel = block("017", 2, with_truth=False).panel
    assert panel.slice_index == 3
    assert panel.truth is None


def test_the_panel_is_cut_to_the_body_and_keeps_its_proportions():
    panel = block("017", 0).panel
    rows, columns = panel.images.shape[1:]
    assert (rows, columns) == (14, 18)  # 10 x 14 pixels of body, a rim of two pixels around them
    assert panel.size_mm == (rows * 2.0, columns * 1.0)
    assert panel.left == "R"


def test_values_just_below_the_background_do_not_count_as_body():
    images, truth, cams = case_arrays()
    images[:, 0, 0] = -0.01
    panel = make_panel("017", cams, cams > 0.5, images, truth, names=NAMES, spacing_mm=SPACING_MM)
    assert panel.images.shape[1:] == (14, 18)


def test_the_fused_map_lies_over_the_first_modality():
    panel = block("017", 0).panel
    assert (panel.images[2] == panel.images[0]).all()
    assert not (panel.images[1] == panel.images[0]).all()


def test_a_large_slice_is_made_small():
    cams = np.full((2, 600, 300, 2), 0.7, dtype=np.float32)
    images = np.random.default_rng(0).random((1, 600, 300, 2))
    panel = make_panel("017", cams, cams > 0.5, images, None, names=("flair", "fused"), spacing_mm=(1, 1, 1))
    assert panel.images.shape == panel.cams.shape == panel.masks.shape == (2, 128, 256)
    assert panel.masks.all()


def test_images_on_another_grid_are_an_error():
    images, truth, cams = case_arrays()
    with pytest.raises(ValueError, match="case 017: images must be"):
        make_panel("017", cams, cams > 0.5, images[..., :2], truth, names=NAMES, spacing_mm=SPACING_MM)


def test_best_median_and_worst_are_picked_by_fused_dice():
    scores = [block(f"moved {shift}", shift).scores for shift in (3, 0, 1, 2)]
    assert pick_cases(scores) == {"best": "moved 0", "median": "moved 1", "worst": "moved 3"}


def test_one_case_is_picked_once():
    assert pick_cases([block("017", 1).scores]) == {"best, median, worst": "017"}


def test_without_truth_the_largest_predictions_are_picked():
    scores = [block("a", 0, with_truth=False).scores, block("b", 1, with_truth=False).scores]
    assert pick_cases(scores) == {"largest prediction": "a", "second largest": "b"}
    assert list(pick_largest({"a": 1.0, "b": 3.0, "c": 2.0, "d": 0.0}).values()) == ["b", "c", "a"]


@pytest.mark.parametrize(("with_truth", "columns"), [(True, 4), (False, 3)])
def test_the_sheet_has_a_picture_for_every_map_and_column(tmp_path, with_truth, columns):
    blocks = [block(title, shift, with_truth) for title, shift in (("best", 0), ("median", 1), ("worst", 9))]
    figure = draw_contact_sheet(tmp_path / "sheet.png", blocks, MaskRule())
    assert len(figure.axes) == 3 * len(NAMES) * columns + 1  # and the colour bar
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    titles = [text.get_text() for text in figure.texts]
    assert any(text.startswith("best") for text in titles)
    assert "case worst  ·  slice 3" in titles


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (MaskRule(0.5), "mask: CAM > 0.5"),
        (MaskRule("otsu"), "mask: by otsu"),
        (MaskRule(0.5, ("holes filled",)), "mask: CAM > 0.5, tidied"),
    ],
)
def test_the_legend_tells_what_made_the_masks(tmp_path, rule, text):
    figure = draw_contact_sheet(tmp_path / "sheet.png", [block("017", 0)], rule)
    assert text in [entry.get_text() for entry in figure.texts]


def test_probabilities_are_not_called_cams(tmp_path):
    figure = draw_contact_sheet(tmp_path / "sheet.png", [block("017", 0)], MaskRule(0.5), "probability")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:4] == ["image", "probability", "mask", "truth"]
    texts = [entry.get_text() for entry in figure.texts]
    assert {"p 0", "mask: p > 0.5"} <= set(texts)
    assert not any("CAM" in text for text in (*titles, *texts))
    assert len(figure.axes[1].images) == 2  # the map lies over the image


def test_a_map_without_a_score_has_no_figure_beside_it(tmp_path):
    whole = block("017", 0)
    lacking = CaseScores("017", whole.scores.rows[1:], whole.scores.curves[1:])
    figure = draw_contact_sheet(
        tmp_path / "sheet.png", [SheetBlock("best", whole.panel, lacking)], MaskRule()
    )
    texts = [entry.get_text() for entry in figure.texts]
    assert NAMES[0] in texts
    assert all(f"{name}\n100.0 %" in texts for name in NAMES[1:])


def test_masks_are_drawn_as_they_come():
    images, truth, cams = case_arrays()
    panel = make_panel("017", cams, cams > 1, images, truth, names=NAMES, spacing_mm=SPACING_MM)
    assert not panel.masks.any()
    assert panel.cams.any()


def test_pictures_of_scans_that_show_nothing_can_be_drawn(tmp_path):
    blank = np.zeros((1, 8, 8, 3))
    cams = np.zeros((2, 8, 8, 3), dtype=np.float32)
    names = ("flair", "fused")
    panel = make_panel("017", cams, cams > 0.5, blank, blank[0], names=names, spacing_mm=(1, 1, 1))
    draw_contact_sheet(tmp_path / "sheet.png", [SheetBlock("median", panel)], MaskRule())
    assert (tmp_path / "sheet.png").is_file()


def test_a_sheet_of_no_case_or_of_unlike_cases_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="at least one case"):
        draw_contact_sheet(tmp_path / "sheet.png", [], MaskRule())
    images, truth, cams = case_arrays()
    names = ("flair", "fused")
    odd = make_panel("018", cams[1:], cams[1:] > 0.5, images, truth, names=names, spacing_mm=SPACING_MM)
    with pytest.raises(ValueError, match="case 018: expected the maps"):
        draw_contact_sheet(tmp_path / "sheet.png", [block("017", 0), SheetBlock("worst", odd)], MaskRule())
