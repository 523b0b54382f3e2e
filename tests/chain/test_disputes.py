"""Where two masks differ, the image decides; no true mask is looked at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.chain import Disputes, settle_disputes
from bundle.chain.disputes import FEWEST
from bundle.data import PrepareOptions, datalist, prepare_cohort
from bundle.data.readers import find_brats
from bundle.data.records import CaseRecord, ImageSource
from tests.conftest import LPS, MODALITIES, SHAPE

LESION = (slice(5, 10), slice(6, 12), slice(2, 4))  # bright in both modalities; its slices are tagged tumour
LARGER = (slice(4, 11), slice(5, 13), slice(2, 4))  # 26 voxels more a slice, in two slices
SMALLER = (slice(5, 10), slice(6, 11), slice(2, 4))  # 5 less
NOWHERE = (slice(0, 0),) * 3


def marked(box, shape=SHAPE) -> np.ndarray:
    mask = np.zeros(shape, dtype=np.uint8)
    mask[box] = 1
    return mask


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
            (tmp_path / name).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(marked(box), LPS), tmp_path / name / "003.nii.gz")
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
    assert found.as_dict() == {"earlier": 10, "later": 52, "unjudged": 0, "for_later": 52 / 62}


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


def test_a_lesion_that_shrinks_to_almost_nothing_or_moves_is_judged_by_the_earlier_mask(settle):
    tiny, beside = (slice(5, 7), slice(6, 8), slice(2, 4)), (slice(11, 16), slice(6, 12), slice(2, 4))
    assert settle(LESION, tiny) == Disputes(earlier=52, later=0)
    assert settle(LESION, NOWHERE) == Disputes(earlier=60, later=0)
    assert settle(LESION, beside) == Disputes(earlier=120, later=0)


def test_where_the_earlier_mask_shows_too_little_to_learn_from_nothing_is_judged(settle):
    tiny = (slice(5, 7), slice(6, 8), slice(2, 4))
    assert settle(tiny, LESION) == Disputes(0, 0, unjudged=52)
    assert settle(NOWHERE, LESION) == Disputes(0, 0, unjudged=60)
    assert settle(NOWHERE, NOWHERE) == Disputes(0, 0)
    assert FEWEST > 8


def test_what_lies_outside_the_foreground_is_not_asked_about(settle):
    assert settle(LESION, (slice(0, 10), slice(6, 12), slice(2, 4))).earlier == 24  # rows 3 and 4 of 0 to 4


@pytest.fixture
def wide(tmp_path):
    """Two cases of 60 x 40 voxels of 1 x 2 x 3 mm: a lesion that overlaps the tissue in brightness, and far off, 28 mm
    along either axis, structures as bright as it. Slices are resized to 30 pixels; a third modality is constant."""
    shape, affine = (60, 40, 6), np.diag([-1.0, -2.0, 3.0, 1.0])
    records = []
    for case in ("001", "002"):
        noise = np.random.default_rng(int(case))
        head = np.zeros(shape, dtype=bool)
        head[1:-1, 1:-1] = True
        values = noise.normal(500, 60, shape)
        values[24:36, 16:24, 1:5] += 60
        values[2:6, 2:38, 1:5] += 60  # from row 6 on 18 voxels of 1 mm to the lesion
        values[48:58, 2:38, 1:5] += 60
        images = {"flair": values, "t1c": noise.normal(500, 60, shape), "flat": np.full(shape, 50.0)}
        folder = tmp_path / "scans" / case
        folder.mkdir(parents=True)
        for name, image in images.items():
            nib.save(
                nib.Nifti1Image(np.where(head, image, 0).astype(np.float32), affine), folder / f"{name}.nii"
            )
        sources = {name: ImageSource(folder / f"{name}.nii") for name in images}
        records.append(CaseRecord(case, sources))
    tags = tmp_path / "tags.csv"
    tags.write_text("case,first,last\n001,1,4\n002,1,4\n")
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"train": ["001", "002"], "validation": [], "test": []}))
    options = PrepareOptions(["flair", "t1c", "flat"], tags=tags, splits=splits, spatial_size=30, workers=1)
    prepare_cohort(records, tmp_path / "wide", options, progress=False)

    def of(earlier, later, around_mm: float = 8.0) -> Disputes:
        for name, box in (("earlier", earlier), ("later", later)):
            (tmp_path / name).mkdir(exist_ok=True)
            for case in ("001", "002"):
                nib.save(nib.Nifti1Image(marked(box, shape), affine), tmp_path / name / f"{case}.nii.gz")
        entries = datalist(tmp_path / "wide", "train")
        return settle_disputes(
            entries, ["flair", "t1c", "flat"], tmp_path / "earlier", tmp_path / "later", around_mm
        )

    return of


TRUE, WIDE = (slice(24, 36), slice(16, 24), slice(1, 5)), (slice(20, 40), slice(14, 26), slice(1, 5))


def test_brightness_that_overlaps_is_told_apart_over_all_cases(wide):
    found = wide(WIDE, TRUE)
    assert found.judged == 2 * 4 * (10 * 6 - 6 * 4)  # pixels of 2 x 2 voxels
    assert found.for_later > 0.8
    assert wide(TRUE, WIDE).for_later == pytest.approx(1 - found.for_later)


def test_bright_structures_far_from_the_lesion_do_not_confuse_it(wide):
    near, far = wide(WIDE, TRUE), wide(WIDE, TRUE, around_mm=1000.0)
    assert near.for_later > far.for_later + 0.02
