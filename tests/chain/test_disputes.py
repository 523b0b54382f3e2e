"""Where two masks differ, the image decides; no true mask is looked at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.chain import Disputes, settle_disputes
from bundle.data import PrepareOptions, datalist, prepare_cohort
from bundle.data.readers import find_brats
from tests.conftest import LPS, MODALITIES, SHAPE

LESION = (slice(5, 10), slice(6, 12), slice(2, 4))  # bright in both modalities; its slices are tagged tumour
LARGER = (slice(4, 11), slice(5, 13), slice(2, 4))  # 26 voxels more a slice, in two slices
SMALLER = (slice(5, 10), slice(6, 11), slice(2, 4))  # 5 less


@pytest.fixture
def entries(cohort, splits, tmp_path):
    """Case 003, at the scan's own 24 x 24 pixels, without its mask."""
    options = PrepareOptions(MODALITIES, tags_from_masks=True, splits=splits, spatial_size=None, workers=1)
    prepare_cohort(find_brats(cohort, MODALITIES), tmp_path / "own", options, "brats", progress=False)
    shutil.rmtree(tmp_path / "own" / "masks")
    return datalist(tmp_path / "own", "validation")


@pytest.fixture
def settle(entries, tmp_path):
    """Disputes of two masks, given as the box that each marks."""

    def of(earlier, later, modalities=MODALITIES) -> Disputes:
        for name, box in (("earlier", earlier), ("later", later)):
            mask = np.zeros(SHAPE, dtype=np.uint8)
            mask[box] = 1
            (tmp_path / name).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(mask, LPS), tmp_path / name / "003.nii.gz")
        return settle_disputes(entries, modalities, tmp_path / "earlier", tmp_path / "later")

    return of


def redescribe(entries, change) -> None:
    """Alter a prepared case's own description."""
    file = Path(entries[0]["image"], "case.json")
    described = json.loads(file.read_text())
    file.write_text(json.dumps({**described, **change(described)}))


@pytest.mark.parametrize("modalities", [MODALITIES, MODALITIES[:1], [MODALITIES[0]] * 2])
def test_the_image_sides_with_the_mask_whose_border_it_shows(settle, modalities):
    assert settle(LARGER, LESION, modalities) == Disputes(earlier=0, later=52)
    assert settle(LESION, LARGER, modalities) == Disputes(earlier=52, later=0)
    assert settle(LESION, SMALLER, modalities) == Disputes(earlier=10, later=0)


def test_both_may_be_right_in_part(settle):
    found = settle(LARGER, SMALLER)  # 52 pixels too many, 10 too few
    assert found == Disputes(earlier=10, later=52)
    assert found.as_dict() == {"earlier": 10, "later": 52, "for_later": 52 / 62}


def test_equal_masks_dispute_nothing(settle):
    assert settle(LESION, LESION) == Disputes(0, 0)
    assert Disputes(0, 0).for_later == 0.5


def test_slices_tagged_healthy_and_untagged_ones_do_not_count(settle, entries):
    everywhere = (*LARGER[:2], slice(1, 6))
    assert settle(LESION, everywhere) == Disputes(earlier=52, later=0)
    redescribe(entries, lambda case: {"tags": [-1 if tag == 0 else tag for tag in case["tags"]]})
    assert settle(LESION, everywhere) == Disputes(earlier=52, later=0)


def test_of_a_case_that_is_tagged_as_a_whole_all_slices_count(settle, entries):
    redescribe(entries, lambda case: {"tags": [-1] * SHAPE[2], "volume_tag": 1})
    assert settle(LESION, (*LESION[:2], slice(2, 6))) == Disputes(earlier=60, later=0)


def test_a_case_with_too_little_in_common_teaches_nothing(settle):
    tiny = (slice(5, 7), slice(6, 8), slice(2, 4))
    assert settle(tiny, LESION) == Disputes(0, 0)
    assert settle((slice(0, 0),) * 3, LESION) == Disputes(0, 0)


def test_what_lies_outside_the_foreground_is_not_asked_about(settle):
    assert settle(LESION, (slice(0, 10), slice(6, 12), slice(2, 4))).earlier == 24  # rows 3 and 4 of 0 to 4
