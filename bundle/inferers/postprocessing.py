"""From a case's maps to what is written: fusion, the scan's own grid, thresholds, files."""

from __future__ import annotations

import csv
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.transforms import Transform

from bundle.data.collate import geometry_of
from bundle.data.names import nearest_name
from bundle.metrics import FUSED

EXTRAS = ("masks", "cams", "probabilities")


class FuseMapsd(Transform):
    """Append the fused map, the maximum over branches (Patel and Dolz 2022, section 5), and split ``pred``.

    Reads ``pred`` as :class:`bundle.inferers.VolumeInferer` gives it; writes ``cams`` (N + G + 1, H, W, S), the
    fused map of all branches last, and ``probabilities`` (N, S), the slices' probability of tumour in each branch.

    Args:
        names: of the N branches' maps.
        groups: G further fused maps, each of some branches: their names joined by ``-``, such as ``t1-t2``.

    Raises:
        ValueError: a group names a branch that is not there.
    """

    def __init__(self, names: Sequence[str] = (), groups: Sequence[str] = ()) -> None:
        self.members = [[_position(name, group, names) for name in group.split("-")] for group in groups]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        pred = d.pop("pred")
        cams = pred["cam"]
        fused = [cams[members].amax(dim=0, keepdim=True) for members in self.members]
        d["cams"] = torch.cat([cams, *fused, cams.amax(dim=0, keepdim=True)])
        d["probabilities"] = pred["logits"].sigmoid()
        return d


class RestoreToScand(Transform):
    """Bring maps and image from slices back onto the scan's own grid, where masks and metrics live.

    Reads ``geometry``, ``cams``, ``image`` and ``foreground`` (C, H, W, S); writes ``cams`` and ``image`` as
    (C, X, Y, Z), and ``affine`` and ``spacing_mm`` beside them. Outside the foreground the image takes its lowest
    value: normalising left 0 there, the mean of the tissue, which would look grey in pictures.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        geometry = geometry_of(d)
        image = torch.as_tensor(d["image"])
        lowest = image.amin(dim=(1, 2, 3), keepdim=True)
        d["image"] = torch.where(torch.as_tensor(d["foreground"]) > 0, image, lowest)
        for key in ("cams", "image"):
            d[key] = geometry.restore(torch.as_tensor(d[key]).permute(0, 3, 1, 2))
        d["affine"], d["spacing_mm"] = geometry.affine, geometry.spacing_mm
        return d


class SavePredictionsd(Transform):
    """Write the fused mask, and on request more, as NIfTI on the scan's own grid and affine.

    ``masks/<case>.nii.gz`` is the fused mask, uint8, 1 where the fused map exceeds the threshold. On request:
    ``masks/<modality>/<case>.nii.gz``, ``cams/<modality or fused>/<case>.nii.gz`` (float32 in [0, 1]) and
    ``probabilities/<case>.csv`` (one row a slice, one column a modality).

    Args:
        output_dir: of the run.
        names: of the maps, the modalities and last ``fused``.
        threshold: of the maps, in [0, 1] (paper: 0.5).
        extras: any of ``masks``, ``cams``, ``probabilities``.

    Raises:
        ValueError: for a threshold outside [0, 1), or unknown extras.
    """

    def __init__(
        self, output_dir: str | Path, names: Sequence[str], threshold: float = 0.5, extras: Sequence[str] = ()
    ) -> None:
        unknown = [extra for extra in extras if extra not in EXTRAS]
        if unknown:
            raise ValueError(f"save_also: expected some of {', '.join(EXTRAS)}, got {list(extras)}")
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold: expected a number in [0, 1), got {threshold}")
        self.output_dir, self.names = Path(output_dir), tuple(names)
        self.threshold, self.extras = float(threshold), tuple(extras)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        case, affine = data["case"], data["affine"]
        for name, cam in zip(self.names, data["cams"].cpu().numpy(), strict=True):
            mask = (cam > self.threshold).astype(np.uint8)
            if name == FUSED:
                _save(mask, affine, self.output_dir / "masks" / f"{case}.nii.gz")
            elif "masks" in self.extras:
                _save(mask, affine, self.output_dir / "masks" / name / f"{case}.nii.gz")
            if "cams" in self.extras:
                _save(cam.astype(np.float32), affine, self.output_dir / "cams" / name / f"{case}.nii.gz")
        if "probabilities" in self.extras:
            self._save_probabilities(case, data["probabilities"])
        return dict(data)

    def _save_probabilities(self, case: str, probabilities: torch.Tensor) -> None:
        path = self.output_dir / "probabilities" / f"{case}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["slice", *self.names[:-1]])
            for index, row in enumerate(probabilities.T.tolist()):
                writer.writerow([index, *(f"{value:.4f}" for value in row)])


def _position(name: str, group: str, names: Sequence[str]) -> int:
    if name not in names:
        raise ValueError(f"also_fuse {group!r}: {name!r} is no branch; {nearest_name(name, names)}")
    return list(names).index(name)


def _save(volume: np.ndarray, affine: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial_{path.name}")
    nib.save(nib.Nifti1Image(volume, affine), partial)
    partial.replace(path)
