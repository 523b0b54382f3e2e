"""Tags: which slices are positive, negative or untagged."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.data.grids import Grid
from bundle.data.labels import volume_tag_of
from bundle.data.tags import read_label, read_tags, tags_from_mask


def _csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _tags(tmp_path: Path, text: str, slices: int = 6, case: str = "017", first_slice: int = 0) -> list[int]:
    return read_tags(_csv(tmp_path / "tags.csv", text), first_slice).for_case(case, slices).tolist()


def test_a_row_a_slice_leaves_the_others_untagged(tmp_path):
    assert _tags(tmp_path, "case,slice,tag\n017,0,0\n017,3,1\n") == [0, -1, -1, 1, -1, -1]


def test_ranges_include_both_ends_and_are_negative_elsewhere(tmp_path):
    assert _tags(tmp_path, "case,first,last\n017,2,4\n") == [0, 0, 1, 1, 1, 0]


def test_several_ranges_of_a_case_add_up(tmp_path):
    assert _tags(tmp_path, "case,first,last\n017,0,1\n017,1,2\n017,5,5\n") == [1, 1, 1, 0, 0, 1]


def test_an_empty_range_makes_the_whole_case_negative(tmp_path):
    assert _tags(tmp_path, "case,first,last\n017,,\n") == [0] * 6


def test_a_healthy_case_is_negative_throughout(tmp_path):
    assert _tags(tmp_path, "case,tag\n017,0\n017,0\n") == [0] * 6


def test_a_case_tagged_positive_leaves_open_which_slices_are(tmp_path):
    table = read_tags(_csv(tmp_path / "t.csv", "case,tag\n017,1\n018,0\n"))
    assert table.for_case("017", 6).tolist() == [-1] * 6
    assert [table.volume_tag(case) for case in ("017", "018", "019")] == [1, None, None]


@pytest.mark.parametrize(
    ("tags", "expected"), [([0, 1, -1], 1), ([-1, 0, 0], 0), ([0, 0, -1], None), ([1, 0, 0], 0), ([-1], None)]
)
def test_slices_tell_the_tag_of_their_volume_as_far_as_they_can(tags, expected):
    blank = np.zeros(len(tags), dtype=bool)
    blank[0] = True  # does not count
    assert volume_tag_of(np.array(tags), blank) == expected


def test_a_case_without_rows_is_untagged(tmp_path):
    assert _tags(tmp_path, "case,tag\n018,0\n") == [-1] * 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("case,slice,tag\n017,1,1\n017,6,0\n", [1, -1, -1, -1, -1, 0]),
        ("case,first,last\n017,5,6\n", [0, 0, 0, 0, 1, 1]),
    ],
)
def test_slices_may_count_from_one(tmp_path, text, expected):
    assert _tags(tmp_path, text, first_slice=1) == expected


def test_columns_may_stand_in_any_order_and_spreadsheets_may_add_marks(tmp_path):
    text = "\ufeffTag; Slice ;Case\r\n1;3.0;017\r\n;;\r\n0;4;017\r\n"
    assert _tags(tmp_path, text) == [-1, -1, -1, 1, 0, -1]


def test_identical_duplicates_are_fine(tmp_path):
    assert _tags(tmp_path, "case,slice,tag\n017,3,1\n017,3,1\n")[3] == 1


def test_case_ids_stay_text(tmp_path):
    table = read_tags(_csv(tmp_path / "t.csv", "case,tag\n017,0\n"))
    assert table.cases == ["017"]
    table.check_cases(["017", "018"])


@pytest.mark.parametrize("join", [lambda a, b: f"{a},{b}", lambda a, b: [a, b]])
def test_several_files_of_different_forms_make_one_table(tmp_path, join):
    ill = _csv(tmp_path / "ill.csv", "case,first,last\n017,2,4\n")
    well = _csv(tmp_path / "well.csv", "case,tag\n018,0\n")
    table = read_tags(join(ill, well))
    assert table.for_case("017", 6).tolist() == [0, 0, 1, 1, 1, 0]
    assert table.for_case("018", 6).tolist() == [0] * 6


def test_a_mask_gives_the_tags_of_its_slices():
    mask = np.zeros((3, 4, 5), np.uint8)
    mask[1, 2, 3] = 4
    tags = tags_from_mask(mask)
    assert (tags.tolist(), tags.dtype) == ([0, 0, 0, 1, 0], np.int8)


# Label files: tags of one case


def _label(tmp_path: Path, content: object, slices: int = 5) -> list[int]:
    path = tmp_path / "017.json"
    path.write_text(json.dumps(content))
    return read_label(path, slices).tolist()


def test_positive_slices_alone_leave_the_others_untagged(tmp_path):
    assert _label(tmp_path, {"positive_slices": [1, 2]}) == [-1, 1, 1, -1, -1]


def test_negative_slices_are_negative(tmp_path):
    assert _label(tmp_path, {"positive_slices": [1], "negative_slices": [4]}) == [-1, 1, -1, -1, 0]


def test_complete_tags_are_negative_elsewhere(tmp_path):
    assert _label(tmp_path, {"positive_slices": [1], "complete": True}) == [0, 1, 0, 0, 0]
    assert _label(tmp_path, {"positive_slices": [], "complete": True}) == [0] * 5


def test_the_tags_of_a_prepared_case_are_a_label(tmp_path):
    assert _label(tmp_path, {"case": "017", "tags": [1, 0, -1, -1, 0], "stratum": None}) == [1, 0, -1, -1, 0]


def test_a_mask_file_is_reduced_to_tags(tmp_path):
    mask = np.zeros((3, 4, 5), np.uint8)
    mask[1, 2, 3] = 2
    nib.save(nib.Nifti1Image(mask, np.eye(4)), tmp_path / "mask.nii.gz")
    assert read_label(tmp_path / "mask.nii.gz", 5).tolist() == [0, 0, 0, 1, 0]


def test_a_mask_stored_upside_down_is_turned_if_the_grid_is_known(tmp_path):
    mask = np.zeros((3, 4, 5), np.uint8)
    mask[1, 2, 3] = 2
    turned = np.diag([1.0, 1, -1, 1])
    turned[2, 3] = 4
    nib.save(nib.Nifti1Image(mask, turned), tmp_path / "mask.nii.gz")
    tags = read_label(tmp_path / "mask.nii.gz", 5, "017", Grid((3, 4, 5), np.eye(4)))
    assert tags.tolist() == [0, 1, 0, 0, 0]
