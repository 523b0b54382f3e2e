"""Slices with masks: the very slices of the tags, and one method alone asks for them."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from bundle.data import MaskSliceDataset, PreparedCase, SliceDataset, datalist
from tests.conftest import MODALITIES
from tests.running import ROOT, TRAINING, root_cause, run_here


def test_an_item_is_that_of_the_tags_but_for_its_label(prepared):
    entries = datalist(prepared, "train")
    tagged, masked = SliceDataset(entries, MODALITIES), MaskSliceDataset(entries, MODALITIES)
    assert len(masked) == len(tagged)
    for ours, theirs in zip(masked, tagged, strict=True):
        assert torch.equal(ours["image"], theirs["image"])
        assert (ours["case"], ours["slice"]) == (theirs["case"], theirs["slice"])
        assert ours["label"].shape == (1, 16, 16)
        assert ours["label"].any() == bool(theirs["label"])


def test_the_label_is_the_mask_in_the_slice_as_the_image_is(prepared):
    for item in MaskSliceDataset(datalist(prepared, "train"), MODALITIES):
        truth = np.asarray(nib.load(prepared / "masks" / f"{item['case']}.nii.gz").dataobj)
        case = PreparedCase.open(prepared / "cases" / item["case"])
        assert np.array_equal(item["label"][0] > 0, case.geometry.apply(truth, "nearest")[item["slice"]] > 0)


def test_a_case_without_a_mask_is_named(prepared):
    (prepared / "masks" / "002.nii.gz").unlink()
    with pytest.raises(ValueError, match="case 002: full supervision needs its mask, found none"):
        MaskSliceDataset(datalist(prepared, "train"), MODALITIES)


def test_the_upper_bounds_alone_read_masks_for_training():
    named = {
        file.stem
        for file in (ROOT / "configs").glob("*.yaml")
        if "MaskSliceDataset" in yaml.safe_dump(yaml.safe_load(file.read_text()))
    }
    assert named == {"method_supervised", "method_selftrain_masks"}
    importing = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "bundle").rglob("*.py")
        if "mask_slices" in file.read_text()
    }
    assert importing == {"bundle/data/__init__.py"}


def test_masks_under_any_other_method_stop_the_training(prepared, tmp_path):
    options = {"dataset_dir": str(prepared), "output_dir": str(tmp_path / "run"), "epochs": 1}
    with pytest.raises(RuntimeError) as error:
        run_here("train", **TRAINING, **options, training_slices="bundle.data.MaskSliceDataset")
    assert "no mask may reach them" in str(root_cause(error.value))
