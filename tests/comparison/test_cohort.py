"""The data of a comparison: found or prepared once, and known by their content."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from bundle.comparison.cohort import open_cohort
from bundle.comparison.scales import PhantomSize
from tests.running import make_raw

SIZE = PhantomSize((2, 1, 1), 6.0, 16)


def opened(dataset_dir, tmp_path, folds=None):
    return open_cohort(str(dataset_dir), tmp_path / "out", SIZE, "brain", folds)


def test_a_prepared_data_set_is_used_as_it_is(prepared, tmp_path):
    cohort = opened(prepared, tmp_path)
    assert cohort.dataset_dir == prepared
    assert cohort.modalities == ("flair", "t1c")
    assert cohort.spatial_size == 16
    assert cohort.cases == {"train": 2, "validation": 1, "test": 1}
    assert not (tmp_path / "out").exists()


def test_raw_scans_are_prepared_once_with_tags_from_their_masks(tmp_path):
    raw = make_raw(tmp_path / "raw")
    for scan in list(raw.glob("*/*_flair.nii.gz")):  # a BraTS case has four modalities
        for other in ("t1", "t2"):
            shutil.copy(scan, scan.with_name(scan.name.replace("flair", other)))
    first = opened(raw, tmp_path)
    stamp = (first.dataset_dir / "cases" / "001" / "image.npy").stat().st_mtime_ns
    assert opened(raw, tmp_path) == first
    assert (first.dataset_dir / "cases" / "001" / "image.npy").stat().st_mtime_ns == stamp
    tags = json.loads((first.dataset_dir / "cases" / "001" / "case.json").read_text())["tags"]
    assert tags == [0, 0, 1, 1, 0, 0]


def test_the_phantom_is_made_where_that_word_is_given(tmp_path):
    cohort = opened("phantom", tmp_path)
    assert cohort.source == "phantom"
    assert cohort.cases == {"train": 2, "validation": 1, "test": 1}


def test_the_digest_is_that_of_the_content(prepared, tmp_path):
    first = opened(prepared, tmp_path).digests[None]
    moved = shutil.copytree(prepared, tmp_path / "moved")
    assert opened(moved, tmp_path).digests[None] == first
    mask = moved / "masks" / "004.nii.gz"
    image = nib.load(mask)
    nib.save(nib.Nifti1Image(np.roll(np.asarray(image.dataobj), 1, axis=0), image.affine), mask)
    assert opened(moved, tmp_path).digests[None] != first


def test_folds_that_are_not_there_are_named(prepared, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"splits_fold0.json is missing; prepare it again with --folds 3"
    ):
        opened(prepared, tmp_path, folds=3)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="expected a prepared data set, a folder of scans or the word phantom"
    ):
        opened(tmp_path / "nowhere", tmp_path)
