"""Masks and tags are compared slice by slice; no true mask is looked at."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from bundle.chain import TagAgreement, tag_agreement
from bundle.data import datalist
from tests.conftest import LPS, SHAPE


def write_mask(folder, case: str, *marked: int, voxels: int = 30, shape=SHAPE) -> None:
    mask = np.zeros(shape, dtype=np.uint8)
    for position in marked:
        mask[5:10, 6:12, position].flat[:voxels] = 1
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(mask, LPS), folder / f"{case}.nii.gz")


@pytest.fixture
def entries(prepared):
    """Cases 001 and 002; slices 2 and 3 are tagged tumour, slice 0 is blank."""
    return datalist(prepared, "train")


def test_slices_are_counted_by_tag_and_mask(entries, tmp_path):
    write_mask(tmp_path, "001", 2, 3)  # both found
    write_mask(tmp_path, "002", 3, 4)  # one found, one missed, one false
    found = tag_agreement(entries, tmp_path)
    assert found == TagAgreement(found=3, missed=1, empty=5, false=1)


def test_blank_and_untagged_slices_do_not_count(entries, prepared, tmp_path):
    case = prepared / "cases" / "001" / "case.json"
    described = json.loads(case.read_text())
    described["tags"][2:5] = [-1, -1, -1]
    case.write_text(json.dumps(described))
    write_mask(tmp_path, "001", 0, 2, 4)
    assert tag_agreement(entries[:1], tmp_path) == TagAgreement(found=0, missed=0, empty=2, false=0)


def test_a_case_tagged_tumour_as_a_whole_counts_as_one_slice(entries, prepared, tmp_path):
    case = prepared / "cases" / "001" / "case.json"
    described = {**json.loads(case.read_text()), "tags": [-1] * 6, "volume_tag": 1}
    case.write_text(json.dumps(described))
    write_mask(tmp_path, "001", 2, 4)
    assert tag_agreement(entries[:1], tmp_path) == TagAgreement(found=1, missed=0, empty=0, false=0)
    write_mask(tmp_path, "001")
    assert tag_agreement(entries[:1], tmp_path) == TagAgreement(found=0, missed=1, empty=0, false=0)


def test_a_mask_of_at_most_the_least_area_counts_as_empty(entries, tmp_path):
    write_mask(tmp_path, "001", 2, voxels=4)  # of 1 mm^2 each
    assert tag_agreement(entries[:1], tmp_path, min_area_mm2=4).missed == 2
    assert tag_agreement(entries[:1], tmp_path, min_area_mm2=3.9).found == 1


def test_figures_by_hand():
    # 3 of 4 tumour slices found, 5 of 6 healthy ones empty
    agreement = TagAgreement(found=3, missed=1, empty=5, false=1)
    assert agreement.balanced_accuracy == pytest.approx((3 / 4 + 5 / 6) / 2)
    expected = np.sqrt(3 / 4 * 1 / 4 / 4 + 5 / 6 * 1 / 6 / 6) / 2
    assert agreement.standard_error == pytest.approx(expected)
    assert agreement.as_dict()["missed"] == 1
    json.dumps(agreement.as_dict())


def test_with_tags_of_one_kind_their_share_is_the_accuracy():
    assert TagAgreement(found=3, missed=1, empty=0, false=0).balanced_accuracy == 0.75


def test_masks_that_mark_everything_or_nothing_are_worth_a_coin():
    assert TagAgreement(found=4, missed=0, empty=0, false=6).balanced_accuracy == 0.5
    assert TagAgreement(found=0, missed=4, empty=6, false=0).balanced_accuracy == 0.5


def test_true_masks_do_not_matter(entries, prepared, tmp_path):
    write_mask(tmp_path, "001", 2, 3)
    before = tag_agreement(entries[:1], tmp_path)
    for mask in (prepared / "masks").glob("*.nii.gz"):
        mask.unlink()
    assert tag_agreement(entries[:1], tmp_path) == before


def test_a_missing_mask_names_its_case(entries, tmp_path):
    write_mask(tmp_path, "001", 2)
    with pytest.raises(FileNotFoundError, match=r"case 002: its mask .* is missing; run the inference"):
        tag_agreement(entries, tmp_path)


def test_a_mask_of_another_shape_names_its_case(entries, tmp_path):
    write_mask(tmp_path, "001", 2, shape=(20, 24, 5))
    with pytest.raises(
        ValueError, match=r"case 001: its mask .* has shape \(20, 24, 5\), expected \(20, 24, 6\)"
    ):
        tag_agreement(entries[:1], tmp_path)


def test_without_tags_there_is_nothing_to_compare(entries, prepared, tmp_path):
    case = prepared / "cases" / "001" / "case.json"
    case.write_text(json.dumps({**json.loads(case.read_text()), "tags": [-1] * 6}))
    write_mask(tmp_path, "001", 2)
    with pytest.raises(ValueError, match="no slice of the 1 cases has a tag"):
        tag_agreement(entries[:1], tmp_path)
