"""Small made-up scans that several tests share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from bundle.data.prepare import PrepareOptions, prepare_cohort
from bundle.data.readers import find_brats

MODALITIES = ("flair", "t1c")
SHAPE = (20, 24, 6)  # rows and columns differ, so that a mix-up of axes shows
LPS = np.diag([-1.0, -1.0, 3.0, 1.0])

torch.set_num_threads(1)


def make_scan(case: int, lesion: tuple[int, ...] = (2, 3)) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Two modalities and a mask: a head on 0 background in slices 1 to 5, bright where the mask is."""
    noise = np.random.default_rng(case)
    head, mask = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=np.uint8)
    head[3:17, 4:21, 1:] = True
    for position in lesion:
        mask[5:10, 6:12, position] = 1
    images = {}
    for modality in MODALITIES:
        values = noise.integers(100, 200, SHAPE) + 300 * mask.astype(np.int16)
        images[modality] = np.where(head, values, 0).astype(np.int16)
    return images, mask


def write_case_files(folder: Path, case: str, images: dict[str, np.ndarray], mask: np.ndarray | None) -> None:
    """One case in the BraTS layout."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, array in {**images, **({} if mask is None else {"seg": mask})}.items():
        nib.save(nib.Nifti1Image(array, LPS), folder / f"{case}_{part}.nii.gz")


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Four cases, 001 to 004, in the BraTS layout, with a lesion in slices 2 and 3."""
    raw = tmp_path / "raw"
    for number in range(1, 5):
        case = f"{number:03d}"
        write_case_files(raw / case, case, *make_scan(number))
    return raw


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """Two cases to train on, one to validate, one to test."""
    path = tmp_path / "splits.json"
    path.write_text(json.dumps({"train": ["001", "002"], "validation": ["003"], "test": ["004"]}))
    return path


@pytest.fixture
def prepared(cohort: Path, splits: Path, tmp_path: Path) -> Path:
    """The cohort as a prepared data set of 16 x 16 slices, tagged from its masks."""
    options = PrepareOptions(MODALITIES, tags_from_masks=True, splits=splits, spatial_size=16, workers=1)
    prepare_cohort(find_brats(cohort, MODALITIES), tmp_path / "prepared", options, "brats", progress=False)
    return tmp_path / "prepared"


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Every file under a folder with its bytes."""

    def read(folder: Path) -> dict[str, bytes]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return read
