"""Slices with the masks that an earlier stage drew: what self-training learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from tqdm import tqdm

from bundle.data.cache import PreparedCase
from bundle.data.datasets import SliceDataset

IGNORED = -1.0


class PseudoLabelSliceDataset(SliceDataset):
    """The slices of `SliceDataset`, whose ``label`` is a pseudo mask: 1 tumour, 0 not, -1 ignored, float32 (1, H, W).

    It comes from an earlier stage's map of the same case, ``labels_dir/<case>.nii.gz`` on the scan's own grid, and
    from the slice's tag, which is the surer of the two: a slice tagged healthy is 0 throughout; in others a pixel
    counts as tumour above `upper`, as not below `lower`, and is ignored between. A slice tagged tumour in which the
    map reaches `upper` nowhere is ignored where it exceeds a tenth of `lower`: something is there. No mask is read. All
    maps are read once and kept as two bits a pixel.

    Args:
        data: entries of a datalist, as for `SliceDataset`.
        modalities: as for `SliceDataset`.
        labels_dir: of the maps in [0, 1], such as ``R/cams/fused`` of an inference with ``--save_also cams``.
        upper: a pixel above is tumour.
        lower: a pixel below is not.
        options: those of `SliceDataset`, by name. Untagged slices are used, too.

    Raises:
        ValueError: `lower` exceeds `upper`, or a map lies on another grid.
        FileNotFoundError: a case has no map.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        modalities: Sequence[str] | str,
        labels_dir: str | Path,
        upper: float = 0.5,
        lower: float = 0.3,
        **options: Any,
    ) -> None:
        if not 0 <= lower <= upper < 1:
            raise ValueError(
                f"pseudo labels: expected 0 <= lower <= upper < 1, got lower {lower}, upper {upper}"
            )
        super().__init__(data, modalities, **{"tagged_only": False, **options})
        self.upper, self.lower = float(upper), float(lower)
        blank = [case.blank for case in self.cases]
        places = zip(self.case_index, self.slice_index, strict=True)
        used = np.array([not blank[number][position] for number, position in places])
        self.case_index, self.slice_index = self.case_index[used], self.slice_index[used]
        self.tags = self.tags[used]
        self._tumour: list[np.ndarray] = []
        self._known: list[np.ndarray] = []
        for number, case in enumerate(tqdm(self.cases, desc="pseudo labels", unit="case")):
            maps = self._read(case, Path(labels_dir) / f"{case.case}.nii.gz")
            for index in np.flatnonzero(self.case_index == number):
                tumour, known = self._decide(maps[self.slice_index[index]], int(self.tags[index]))
                self._tumour.append(np.packbits(tumour))
                self._known.append(np.packbits(known))

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Items of a whole batch."""
        items = super().__getitems__(indices)
        for item, index in zip(items, indices, strict=True):
            item["label"] = torch.from_numpy(self.pseudo_mask(index))[None]
        return items

    def pseudo_mask(self, row: int) -> np.ndarray:
        """What was decided in the slice of a row: 1 tumour, 0 not, -1 ignored, float32 (H, W)."""
        tumour, known = self._unpack(self._tumour[row]), self._unpack(self._known[row])
        return np.where(known == 0, np.float32(IGNORED), tumour)

    def fingerprint(self) -> str:
        """Tells these labels from others: a training goes on under the same ones alone."""
        return hashlib.sha256(b"".join(map(bytes, [*self._tumour, *self._known]))).hexdigest()

    def _decide(self, cam: np.ndarray, tag: int) -> tuple[np.ndarray, np.ndarray]:
        """Map (H, W) and tag to where tumour is and where that is known, bool (H, W)."""
        if tag == 0:
            return np.zeros(cam.shape, bool), np.ones(cam.shape, bool)
        tumour = cam > self.upper
        if tag == 1 and not tumour.any():
            return tumour, cam <= 0.1 * self.lower
        return tumour, tumour | (cam < self.lower)

    def _unpack(self, bits: np.ndarray) -> np.ndarray:
        size = self.cases[0].geometry.size
        return np.unpackbits(bits, count=size * size).reshape(size, size).astype(np.float32)

    @staticmethod
    def _read(case: PreparedCase, path: Path) -> np.ndarray:
        """Map as slices (S, H, W)."""
        if not path.is_file():
            raise FileNotFoundError(
                f"case {case.case}: its map {path} is missing; run the classifiers' inference with --save_also cams "
                f"and --split train (or all) first (configs/inference.yaml, or configs/inference.json of a bundle of "
                f"classifiers), and give its cams/fused as `labels_dir`"
            )
        image = nib.Nifti1Image.from_filename(path)
        if image.shape != case.geometry.shape or not np.allclose(
            image.affine, case.geometry.affine, atol=1e-3
        ):
            raise ValueError(
                f"case {case.case}: its map {path} has shape {image.shape}, expected {case.geometry.shape} at the "
                f"scan's own position; make the maps from the same scans"
            )
        return case.geometry.apply(np.asarray(image.dataobj, dtype=np.float32))
