"""Tags of whole volumes alone become masks by one command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import pytest

from bundle.data import PreparedCase
from bundle.data.prepare import PrepareOptions, prepare_cohort
from bundle.data.readers import find_brats
from tests.conftest import MODALITIES, SHAPE, make_scan, write_case_files
from tests.running import ROOT

ILL = {"001": 1, "002": 0, "003": 1, "004": 0, "005": 1}
SPLITS = {"train": ["001", "002"], "validation": ["003", "004"], "test": ["005"]}
SMALL = "--width 2 --precision float32"
TRAINING = "--epochs 2 --batch_size 4 --learning_rate 0.01"


@pytest.fixture(scope="module")
def volume_tagged(tmp_path_factory) -> Path:
    """Five cases at 32 x 32 pixels, tagged ill or healthy as a whole."""
    folder = tmp_path_factory.mktemp("volume_tags")
    for number, (case, ill) in enumerate(ILL.items()):
        write_case_files(folder / "raw" / case, case, *make_scan(number, lesion=(2, 3) if ill else ()))
    (folder / "tags.csv").write_text("\n".join(["case,tag", *(f"{case},{ill}" for case, ill in ILL.items())]))
    (folder / "splits.json").write_text(json.dumps(SPLITS))
    options = PrepareOptions(
        MODALITIES,
        tags=str(folder / "tags.csv"),
        splits=folder / "splits.json",
        spatial_size=32,
        workers=1,
    )
    prepare_cohort(
        find_brats(folder / "raw", MODALITIES), folder / "prepared", options, "brats", progress=False
    )
    return folder / "prepared"


def test_tags_of_whole_volumes_become_masks_by_one_command(volume_tagged, tmp_path):
    assert set(PreparedCase.open(volume_tagged / "cases" / "003").tags) == {-1}  # no slice's own tag
    flags = {
        "dataset_dir": volume_tagged,
        "output_dir": tmp_path / "R",
        "modalities": ",".join(MODALITIES),
        "cam_configs": "method_volume_tags",
        "cam_options": f"{SMALL} --levels 1",
        "cam_training": TRAINING,
        "segmenter_options": SMALL,
        "segmenter_training": TRAINING,
    }
    words = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    run = subprocess.run(
        [sys.executable, "-m", "scripts.run_chain", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        text=True,
        encoding="utf-8",
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert nib.load(tmp_path / "R" / "masks" / "005.nii.gz").shape == SHAPE
    report = json.loads((tmp_path / "R" / "chain.json").read_text())
    assert [row["name"] for row in report["stages"]] == ["cam", "segmenter_1"]
    tags = report["stages"][1]["validation_tags"]
    assert tags["found"] + tags["missed"] == 1  # case 003 as a whole
