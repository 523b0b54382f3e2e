"""Scans of a given size that cost what real ones cost to read: a textured head on an empty background."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import zoom

from bundle.data.records import CaseRecord, ImageSource

AXIAL = np.diag([-1.0, -1.0, 1.0, 1.0])  # 1 mm, stored as BraTS stores it


def make_head(volume: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid that fills a fifth of the volume, like a brain in BraTS, and a ball in it; both bool."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in volume), indexing="ij", sparse=True)
    x, y, z = axes
    head = (x / 0.62) ** 2 + (y / 0.75) ** 2 + (z / 0.85) ** 2 < 1
    lesion = (x - 0.2) ** 2 + (y + 0.1) ** 2 + (z - 0.1) ** 2 < 0.04
    return head, lesion


def write_scans(folder: Path, names: list[str], volume: tuple[int, int, int], cases: int) -> list[CaseRecord]:
    """Writes int16 .nii.gz files, one a modality, with a mask for tags; returns their records."""
    head, lesion = make_head(volume)
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for number in range(cases):
        noise = np.random.default_rng(number)
        case, images = f"{number:03d}", {}
        for name in names:
            coarse = noise.normal(600, 150, [max(2, n // 12) for n in volume]).astype(np.float32)
            tissue = zoom(coarse, [n / c for n, c in zip(volume, coarse.shape, strict=True)], order=1)
            voxels = tissue + noise.normal(0, 30, volume).astype(np.float32) + 500 * lesion
            path = folder / f"{case}_{name}.nii.gz"
            _save(np.where(head, voxels.clip(1, 4000), 0).astype(np.int16), path)
            images[name] = ImageSource(path)
        mask = folder / f"{case}_seg.nii.gz"
        _save((lesion & head).astype(np.uint8), mask)
        records.append(CaseRecord(case, images, mask=mask))
    return records


def _save(array: np.ndarray, path: Path) -> None:
    nib.save(nib.Nifti1Image(array, AXIAL), path)
