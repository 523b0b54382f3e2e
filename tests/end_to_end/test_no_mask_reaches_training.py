"""Tags are all that training sees: masks may be anything once the slices are tagged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from bundle.data import PreparedCase, PseudoLabelSliceDataset, SliceDataset, datalist
from tests.conftest import MODALITIES
from tests.end_to_end.conftest import LEARNING
from tests.end_to_end.test_resuming import assert_same_run
from tests.running import SIZE, run_here


def replace_by_noise(mask: Path) -> None:
    image = nib.load(mask)
    noise = np.random.default_rng(int(mask.name[:3])).integers(0, 2, image.shape, dtype=np.uint8)
    assert not np.array_equal(noise, np.asarray(image.dataobj))
    nib.save(nib.Nifti1Image(noise, image.affine), mask)


def run(dataset_dir: Path, output_dir: Path) -> Path:
    """Train, then predict every case."""
    where = {"dataset_dir": str(dataset_dir), "output_dir": str(output_dir)}
    run_here("train", **{**LEARNING, "epochs": 4, **where})
    run_here("inference", **SIZE, **where, split="all", save_also="cams")
    return output_dir


@pytest.fixture(scope="module")
def with_masks(dataset_dir, tmp_path_factory) -> Path:
    return run(dataset_dir, tmp_path_factory.mktemp("with_masks"))


@pytest.mark.parametrize("fate", ["noise", "gone"])
def test_masks_do_not_matter_after_tagging(fate, with_masks, dataset_dir, tmp_path):
    copy = shutil.copytree(dataset_dir, tmp_path / "prepared")
    masks = sorted((copy / "masks").glob("*.nii.gz"))
    assert len(masks) == 4
    for mask in masks:
        replace_by_noise(mask) if fate == "noise" else mask.unlink()
    found = run(copy, tmp_path / "run")
    assert_same_run(found, with_masks)  # weights, optimizer, selected epoch and its score
    for file in sorted(with_masks.rglob("*.nii.gz")):
        same = np.asarray(nib.load(found / file.relative_to(with_masks)).dataobj)
        assert np.array_equal(same, np.asarray(nib.load(file).dataobj)), file.name


def test_a_mask_as_label_is_reduced_to_its_tags(raw, tmp_path):
    """Masks of other shapes with lesions in the same slices give the same weights."""
    for kind in ("true", "other"):
        entries = {}
        for case in ("001", "002", "003"):
            label = tmp_path / f"{kind}_{case}.nii.gz"
            image = nib.load(raw / case / f"{case}_seg.nii.gz")
            mask = np.asarray(image.dataobj)
            if kind == "other":
                mask = np.roll(mask[::-1], 3, axis=1)
            nib.save(nib.Nifti1Image(mask, image.affine), label)
            scans = [str(raw / case / f"{case}_{modality}.nii.gz") for modality in MODALITIES]
            entries[case] = {"image": scans, "label": str(label)}
        lists = {
            "train#dataset#data": [entries["001"], entries["002"]],
            "validate#dataset#data": [entries["003"]],
        }
        options = {"epochs": 2, "spatial_size": 16, "output_dir": str(tmp_path / kind)}
        run_here("train", **{**LEARNING, **options, "cache_dir": str(tmp_path / f"cache_{kind}")}, **lists)
    assert_same_run(tmp_path / "true", tmp_path / "other")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_what_training_and_validation_read_holds_no_mask(split, dataset_dir):
    dataset = SliceDataset(datalist(dataset_dir, split), MODALITIES, tagged_only=False)
    seen = 0
    for item in dataset:
        assert set(item) == {"image", "foreground", "label", "statistics", "case", "slice"}
        case = PreparedCase.open(dataset_dir / "cases" / item["case"])
        truth = nib.load(dataset_dir / "masks" / f"{item['case']}.nii.gz")
        mask = case.geometry.apply(np.asarray(truth.dataobj), "nearest")[item["slice"]]
        assert item["label"].ndim == 0
        assert item["label"] == float(mask.any())
        if mask.any():
            seen += 1
            for channel in (*item["image"], *item["foreground"]):
                assert not torch.equal(channel > 0, torch.from_numpy(mask > 0))
    assert seen == 2 * len(dataset.cases)


def test_what_self_training_reads_holds_no_mask_but_an_earlier_stages(with_masks, dataset_dir, tmp_path):
    """The same items, bit for bit, once the true masks are noise; and no item is told apart by one."""
    maps = with_masks / "cams" / "fused"
    items = list(PseudoLabelSliceDataset(datalist(dataset_dir, "train"), MODALITIES, maps))
    copy = shutil.copytree(dataset_dir, tmp_path / "prepared")
    for mask in sorted((copy / "masks").glob("*.nii.gz")):
        replace_by_noise(mask)
    others = list(PseudoLabelSliceDataset(datalist(copy, "train"), MODALITIES, maps))
    assert len(items) == len(others) == 10
    for item, other in zip(items, others, strict=True):
        assert set(item) == {"image", "foreground", "label", "statistics", "case", "slice"}
        assert all(torch.equal(item[key], other[key]) for key in ("image", "foreground", "label"))
        case = PreparedCase.open(dataset_dir / "cases" / item["case"])
        cam = np.asarray(nib.load(maps / f"{item['case']}.nii.gz").dataobj)
        drawn = case.geometry.apply(cam)[item["slice"]] > 0.5
        tumour = item["label"][0].numpy() == 1
        assert np.array_equal(tumour, drawn if item["slice"] in (2, 3) else np.zeros_like(drawn))


def test_a_prepared_case_keeps_its_mask_apart(dataset_dir):
    for case in sorted((dataset_dir / "cases").iterdir()):
        assert {file.name for file in case.iterdir()} == {"image.npy", "foreground.npy", "case.json"}
        tags = json.loads((case / "case.json").read_text())["tags"]
        assert tags == [0, 0, 1, 1, 0, 0]
