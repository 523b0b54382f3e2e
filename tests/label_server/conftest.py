"""One trained bundle, its studies and masks of the command line, and a server for all tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import LPS, MODALITIES
from tests.running import SIZE, TRAINING, make_raw, merged, prepare, run_here

MODEL = "tumour_from_tags"
# Of what has learnt little; `refine` as a whole, since the training notes it for the server.
UNSURE = {"refine": {**merged("inference").get("refine"), "peak": 0.5}}
LABEL_TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here need MONAI Label: `make test-label`."""
    for item in items:
        if LABEL_TESTS in item.path.parents:
            item.add_marker(pytest.mark.label_server)


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    """raw/, run/ (a training), expected/ (masks and maps of ``inference.yaml``) and studies/, all in one folder."""
    folder = tmp_path_factory.mktemp("label")
    raw = make_raw(folder / "raw")
    dataset_dir = prepare(raw, folder / "prepared")
    options = {**TRAINING, **UNSURE, "learning_rate": 0.01, "epochs": 10}
    run_here("train", **options, dataset_dir=str(dataset_dir), output_dir=str(folder / "run"))
    checkpoint = str(folder / "run" / "models" / "model.pt")
    out = {"output_dir": str(folder / "expected"), "save_also": "cams"}
    run_here("inference", **SIZE, **UNSURE, checkpoint=checkpoint, dataset_dir=str(raw), **out)
    studies = folder / "studies"
    studies.mkdir()
    for scan in raw.glob("*/*.nii.gz"):
        if "seg" not in scan.name:
            shutil.copy(scan, studies)
    scans = [np.asarray(nib.load(studies / f"002_{name}.nii.gz").dataobj) for name in MODALITIES]
    nib.save(nib.Nifti1Image(np.stack(scans, -1), LPS), studies / "channels.nii.gz")
    nib.save(nib.Nifti1Image(np.stack([scans[0]] * 3, -1), LPS), studies / "three.nii.gz")
    shutil.copy(studies / "003_flair.nii.gz", studies / "alone_flair.nii.gz")
    return folder


@pytest.fixture(scope="session")
def expected(place) -> dict[str, np.ndarray]:
    """Masks that the command line writes."""
    masks = {
        path.name.split(".")[0]: nib.load(path) for path in (place / "expected" / "masks").glob("*.nii.gz")
    }
    return {case: np.asarray(mask.dataobj) for case, mask in masks.items()}
