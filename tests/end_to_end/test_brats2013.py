"""The whole job on real scans, short: six patients with FLAIR and T1c."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from bundle.data import prepare_source
from bundle.data.prepare import PrepareOptions
from bundle.metrics import read_rows
from tests.running import ROOT, run_here

SCANS = ROOT.parent / "shared" / "data" / "brats2013"
PATTERNS = {
    "flair": "*/{case}/Flair_subtrMeanDivStd.nii.gz",
    "t1c": "*/{case}/T1c_subtrMeanDivStd.nii.gz",
    "mask": "*/{case}/OTMultiClass.nii.gz",
    "foreground": "*/{case}/brainmask.nii.gz",
}

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not SCANS.is_dir(), reason=f"needs the real scans in {SCANS}"),
]


@pytest.fixture(scope="module")
def output_dir(tmp_path_factory):
    """Prepared at 48 x 48, trained for an epoch, evaluated."""
    folder = tmp_path_factory.mktemp("brats2013")
    cases = {
        part: sorted(p.name for p in (SCANS / part).iterdir()) for part in ("train", "validation", "test")
    }
    held_out = cases["validation"].pop()
    splits = {"train": cases["train"] + cases["validation"], "validation": [held_out], "test": cases["test"]}
    (folder / "splits.json").write_text(json.dumps(splits))
    options = PrepareOptions(
        ["flair", "t1c"],
        tags_from_masks=True,
        splits=folder / "splits.json",
        spatial_size=48,
        workers=2,
    )
    prepare_source("folder", folder / "data", options, input_dir=SCANS, patterns=PATTERNS)
    size = {"modalities": ("flair", "t1c"), "width": 4, "precision": "float32"}
    where = {"dataset_dir": str(folder / "data"), "output_dir": str(folder / "run")}
    run_here("train", **size, **where, epochs=1)
    run_here("evaluate", **size, **where)
    run_here("inference", **size, **where)
    return folder / "run"


def test_every_test_patient_is_scored(output_dir):
    rows = read_rows(output_dir / "metrics.csv")
    assert [row.map for row in rows] == ["flair", "t1c", "fused"] * 2
    assert all(0 <= row.dice <= 1 and not row.empty_truth for row in rows)


def test_masks_lie_on_the_patients_grid(output_dir):
    for case in sorted(path.name for path in (SCANS / "test").iterdir()):
        mask, scan = (
            nib.load(output_dir / "masks" / f"{case}.nii.gz"),
            nib.load(SCANS / "test" / case / "Flair_subtrMeanDivStd.nii.gz"),
        )
        assert mask.shape == scan.shape == (240, 240, 155)
        assert mask.get_data_dtype() == np.uint8
        assert np.allclose(mask.affine, scan.affine)
