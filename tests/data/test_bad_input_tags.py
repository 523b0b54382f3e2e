"""Tags and splits that cannot be used: each error names row or split, case, finding and remedy."""

from __future__ import annotations

import json
import re

import nibabel as nib
import numpy as np
import pytest

from bundle.data.splits import check_tags_cover, make_splits, read_splits
from bundle.data.tags import read_label, read_tags


def _read(tmp_path, text: str, first_slice: int = 0):
    path = tmp_path / "tags.csv"
    path.write_text(text)
    return read_tags(path, first_slice)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient,slice,tag\n017,1,1\n", "header should be one of case,slice,tag.*found patient,slice,tag"),
        ("case,slice,tag,note\n017,1,1,x\n", "found case,slice,tag,note.*rename or remove columns"),
        ("", "found nothing"),
        ("case,tag\n", "should hold at least one row"),
        ("case,slice,tag\n017,1\n", r"row 2: should give case,slice,tag \(found 017,1\)"),
        ("case,slice,tag\n,1,1\n", "row 2: should give case,slice,tag"),
        (
            "case,slice,tag\n017,1,1\n017,2.5,1\n",
            r"row 3: case 017: slice should be a whole number \(found 2.5",
        ),
        ("case,slice,tag\n017,x,1\n", r"row 2: case 017: slice should be a whole number \(found x\)"),
        ("case,first,last\n017,3,\n", r"row 2: case 017: last should be a whole number \(found nothing\)"),
        ("case,slice,tag\n017,-1,1\n", r"row 2: case 017: slices count from 0 \(found slice -1\)"),
        ("case,slice,tag\n017,1,2\n", r"row 2: case 017: tag should be 0 or 1 \(found 2\)"),
        ("case,tag\n017,\n", r"row 2: case 017: tag should be 0 or 1 \(found nothing\)"),
        ("case,tag\n017,1\n017,0\n", "row 3: case 017: this row and .*row 2 contradict .*tag 0 and 1"),
        ("case,first,last\n017,5,3\n", r"row 2: case 017: first should not be above last \(found 5 and 3\)"),
        (
            "case,slice,tag\n017,3,1\n017,3,0\n",
            "row 3: case 017: this row and .*row 2 contradict .*tag 0 and 1",
        ),
        ("case,first,last\n017,3,4\n017,,\n", "row 3: case 017: this row and .*row 2 contradict"),
        ("case,first,last\n017,,\n017,3,4\n", "row 3: case 017: this row and .*row 2 contradict"),
    ],
)
def test_a_bad_row_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        _read(tmp_path, text)


def test_slice_zero_is_refused_where_slices_count_from_one(tmp_path):
    with pytest.raises(ValueError, match=r"row 2: case 017: slices count from 1.*--first_slice"):
        _read(tmp_path, "case,slice,tag\n017,0,1\n", first_slice=1)


def test_a_slice_beyond_the_scan_names_row_and_range(tmp_path):
    table = _read(tmp_path, "case,slice,tag\n017,1,1\n017,155,1\n")
    with pytest.raises(ValueError, match=r"row 3: case 017: slices should lie in 0 to 154 \(found 155\)"):
        table.for_case("017", 155)


def test_one_slice_too_many_suggests_counting_from_one(tmp_path):
    with pytest.raises(ValueError, match="--first_slice 1"):
        _read(tmp_path, "case,first,last\n017,3,6\n").for_case("017", 6)


def test_an_unknown_case_names_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"row 2: case 17 is not in the data set; did you mean 017\?"):
        _read(tmp_path, "case,tag\n17,0\n").check_cases(["017", "204"])


def test_a_case_in_two_files_is_refused(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("case,tag\n017,0\n")
    with pytest.raises(ValueError, match=r"b\.csv row 2: case 017 should stand in one file"):
        read_tags([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tags file .*none\.csv does not exist"):
        read_tags(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"positive_slices": [5]}, r"positive_slices should list whole numbers from 0 to 4 \(found 5\)"),
        ({"positive_slices": [True]}, "found True"),
        ({"positive_slices": 3}, "found 3"),
        ({"positive_slices": [1], "negative_slices": [1]}, "slice 1 is listed as positive and as negative"),
        ({"positive_slices": [1], "negative": []}, "negative is not known; did you mean negative_slices"),
        ({"positive_slices": [1], "complete": 1}, "complete should be true or false"),
        ({"tags": [0, 1]}, "tags should be 5 of 1, 0 and -1"),
        ({"tags": [0, 1, 2, 0, 0]}, "tags should be 5 of 1, 0 and -1"),
        ({}, "should hold tags or positive_slices"),
        ([1, 0], "should hold tags or positive_slices"),
    ],
)
def test_a_bad_label_file_is_named(tmp_path, content, message):
    (tmp_path / "l.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"case 017: label .*{message}"):
        read_label(tmp_path / "l.json", 5, "017")


def test_a_label_that_is_no_json_is_named(tmp_path):
    (tmp_path / "l.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        read_label(tmp_path / "l.json", 5)


def test_a_label_mask_with_another_number_of_slices_is_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.ones((3, 3, 4), np.uint8), np.eye(4)), tmp_path / "m.nii")
    with pytest.raises(ValueError, match=r"should have 5 slices .* \(found 4\)"):
        read_label(tmp_path / "m.nii", 5)


# Splits


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": ["a", "b"], "test": ["b", "c"]}, "patient b should be in one split .*train.*test"),
        ({"train": ["a", "b", "b"], "test": ["c"]}, "case b should be listed once"),
        ({"train": ["a", "b"], "test": ["c", "d"]}, "case d in test is not in the data set"),
        ({"train": ["a"], "test": ["c"]}, 'case b is in no split.*list it under "unused"'),
        ({"train": ["a", "b"], "val": ["c"]}, "split val is not known; known are train, validation, test"),
        ({"train": [1, 2], "test": ["c"]}, "train should list case ids as text"),
        ({"train": "a"}, "train should list case ids as text"),
        (["a"], "should map train, validation, test to cases"),
    ],
)
def test_bad_splits_are_named(tmp_path, content, message):
    path = tmp_path / "splits.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}.*{message}"):
        read_splits(path, ["a", "b", "c"])


def test_two_scans_of_a_patient_in_two_splits_are_refused(tmp_path):
    first, second = "BraTS-GLI-00005-100", "BraTS-GLI-00005-101"
    path = tmp_path / "splits.json"
    path.write_text(json.dumps({"train": [first], "test": [second]}))
    with pytest.raises(
        ValueError, match=f"patient BraTS-GLI-00005 .*train, case {first}, .*test, case {second}"
    ):
        read_splits(path, [first, second])


def test_splits_that_are_absent_or_no_json_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_splits(tmp_path / "none.json", [])
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(ValueError, match="should be JSON"):
        read_splits(tmp_path / "s.json", [])


@pytest.mark.parametrize("fractions", [(0.7, 0.2, 0.2), (1.2, -0.2, 0), (0.5, 0.5), (0, 0.5, 0.5)])
def test_fractions_that_are_no_shares_are_refused(fractions):
    with pytest.raises(ValueError, match="fractions should be shares"):
        make_splits(["a", "b", "c"], fractions=fractions)


def test_too_few_patients_are_refused():
    with pytest.raises(ValueError, match=r"train, validation, test need a patient each \(found 2"):
        make_splits(["a", "b"])


@pytest.mark.parametrize("folds", [1, 5])
def test_an_impossible_number_of_folds_is_refused(folds):
    with pytest.raises(ValueError, match=f"number of patients, 4 .found {folds}"):
        make_splits(["a", "b", "c", "d"], folds=folds)


@pytest.mark.parametrize(("tags", "word"), [([0, -1], "positive"), ([1, -1], "negative"), ([], "positive")])
def test_a_split_without_one_kind_of_slices_is_refused(tags, word):
    with pytest.raises(ValueError, match=rf"split train \(cases a\) should have at least one {word} slice"):
        check_tags_cover("train", {"a": np.array(tags)})
