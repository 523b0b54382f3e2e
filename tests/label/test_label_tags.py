"""Paint and notes become tags, and nothing is concluded of what a user did not look at."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.data.grids import Grid
from bundle.label import tags_of_labels
from tests.conftest import LPS, SHAPE

GRID = Grid(SHAPE, LPS)
SLICER = [{"name": "tumour", "idx": 1}, {"name": "healthy", "idx": 2}, {"name": "done", "idx": 3}]


def paint(path: Path, affine: np.ndarray = LPS, **slices: list[int]) -> Path:
    """One voxel a slice, by value: ``v1=[2]``."""
    label = np.zeros(SHAPE, np.int16)
    for value, where in slices.items():
        label[int(value[1:]), 5, where] = int(value[1:])
    nib.save(nib.Nifti1Image(label, affine), path)
    return path


def tags(path: Path, **info) -> list[int]:
    return tags_of_labels([(path, info)], SHAPE[2], "017", GRID).tolist()


def test_a_dab_is_a_tag_for_its_slice_and_says_nothing_of_the_others(tmp_path):
    assert tags(paint(tmp_path / "a.nii.gz", v1=[2, 4])) == [-1, -1, 1, -1, 1, -1]


@pytest.mark.parametrize("done", [True, "true"])
def test_the_others_are_negative_if_the_user_says_that_the_case_is_done(done, tmp_path):
    assert tags(paint(tmp_path / "a.nii.gz", v1=[2]), done=done) == [0, 0, 1, 0, 0, 0]


def test_paint_named_done_says_so_and_is_no_tumour(tmp_path):
    path = paint(tmp_path / "a.nii.gz", v1=[2], v3=[5])
    assert tags(path, label_info=SLICER) == [0, 0, 1, 0, 0, 0]


def test_paint_named_healthy_makes_its_slice_negative(tmp_path):
    path = paint(tmp_path / "a.nii.gz", v1=[2], v2=[4])
    assert tags(path, label_info=SLICER) == [-1, -1, 1, -1, 0, -1]


def test_without_names_every_value_is_tumour_as_in_masks_of_several_parts(tmp_path):
    assert tags(paint(tmp_path / "a.nii.gz", v1=[1], v2=[2], v4=[4]), done=True) == [0, 1, 1, 0, 1, 0]


def test_an_empty_label_of_a_case_that_is_done_is_all_negative(tmp_path):
    assert tags(paint(tmp_path / "a.nii.gz"), done=True) == [0] * 6
    assert tags(paint(tmp_path / "a.nii.gz")) == [-1] * 6


def test_a_note_is_read_as_in_a_datalist(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"positive_slices": [1], "negative_slices": [0]}))
    assert tags(tmp_path / "a.json") == [0, 1, -1, -1, -1, -1]
    assert tags(tmp_path / "a.json", done=True) == [0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("complete", [{}, {"complete": True}])
def test_the_case_is_done_if_any_of_its_labels_says_so_and_dabs_on_all_of_its_files_count(complete, tmp_path):
    dab = paint(tmp_path / "flair.nii.gz", v1=[2])
    note = tmp_path / "t1c.json"
    note.write_text(json.dumps({"positive_slices": [3], **complete}))
    told = tags_of_labels([(dab, {}), (note, {"done": not complete})], SHAPE[2], "017", GRID)
    assert told.tolist() == [0, 0, 1, 1, 0, 0]


def test_labels_that_contradict_are_refused(tmp_path):
    dab = paint(tmp_path / "flair.nii.gz", v1=[2])
    note = tmp_path / "t1c.json"
    note.write_text(json.dumps({"negative_slices": [2], "complete": True}))
    with pytest.raises(ValueError, match=r"case 017: two of its labels contradict in slice 2 .*t1c\.json"):
        tags_of_labels([(dab, {}), (note, {})], SHAPE[2], "017", GRID)


def test_a_slice_that_is_painted_both_ways_is_refused(tmp_path):
    path = paint(tmp_path / "a.nii.gz", v1=[2], v2=[2])
    with pytest.raises(
        ValueError, match=r"case 017: slice 2 of label .* as tumour and as healthy; erase one"
    ):
        tags(path, label_info=SLICER)


def test_a_label_on_another_grid_is_refused(tmp_path):
    path = paint(tmp_path / "a.nii.gz", np.diag([2.0, 2.0, 3.0, 1.0]), v1=[2])
    with pytest.raises(ValueError, match="case 017: mask should lie on the grid of the scan"):
        tags(path)
