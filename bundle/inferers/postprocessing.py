"""From a case's maps to what is written: the scan's own grid, files."""

from __future__ import annotations

import csv
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.transforms import Transform
from monai.utils import convert_to_tensor

from bundle.data.collate import geometry_of
from bundle.metrics import FUSED

EXTRAS = ("masks", "cams", "probabilities")


class RestoreToScand(Transform):
    """Bring maps, image and foreground from slices back onto the scan's own grid, where masks and metrics live.

    Reads ``geometry``, ``cams``, ``image`` and ``foreground`` (C, H, W, S); writes the three as (C, X, Y, Z), and
    ``affine`` and ``spacing_mm`` beside them. Outside the foreground the image takes its lowest
    value: normalising left 0 there, the mean of the tissue, which would look grey in pictures.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        geometry = geometry_of(d)
        device = torch.as_tensor(d["cams"]).device  # a server leaves image and foreground behind
        image = convert_to_tensor(d["image"], device=device, track_meta=False)
        lowest = image.amin(dim=(1, 2, 3), keepdim=True)
        inside = torch.as_tensor(d["foreground"], device=device) > 0
        d["image"] = torch.where(inside, image, lowest)
        d["foreground"] = geometry.restore(inside.byte().permute(0, 3, 1, 2), "nearest")
        for key in ("cams", "image"):
            d[key] = geometry.restore(torch.as_tensor(d[key]).permute(0, 3, 1, 2))
        d["affine"], d["spacing_mm"] = geometry.affine, geometry.spacing_mm
        return d


class SavePredictionsd(Transform):
    """Write the fused mask, and on request more, as NIfTI on the scan's own grid and affine.

    Reads ``masks`` and ``cams`` (M, X, Y, Z), as :class:`bundle.refinement.MaskMapsd` leaves them.
    ``masks/<case>.nii.gz`` is the fused mask, uint8. On request:
    ``masks/<modality>/<case>.nii.gz``, ``cams/<modality or fused>/<case>.nii.gz`` (float32 in [0, 1]) and
    ``probabilities/<case>.csv`` (one row a slice, one column a modality). A map
    that ``present`` (M,) says is of a missing branch gets no file, and one that an earlier run left goes.

    Args:
        output_dir: of the run.
        names: of the maps, the modalities and last ``fused``.
        extras: any of ``masks``, ``cams``, ``probabilities``.

    Raises:
        ValueError: for unknown extras.
    """

    def __init__(self, output_dir: str | Path, names: Sequence[str], extras: Sequence[str] = ()) -> None:
        unknown = [extra for extra in extras if extra not in EXTRAS]
        if unknown:
            raise ValueError(f"save_also: expected some of {', '.join(EXTRAS)}, got {list(extras)}")
        self.output_dir, self.names, self.extras = Path(output_dir), tuple(names), tuple(extras)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        case, affine = data["case"], data["affine"]
        masks, cams = (data[key].cpu().numpy() for key in ("masks", "cams"))
        present = data.get("present", [True] * len(self.names))
        for name, mask, cam, shown in zip(self.names, masks, cams, present, strict=True):
            volumes: dict[Path, np.ndarray] = {}
            if name == FUSED:
                volumes[self.output_dir / "masks" / f"{case}.nii.gz"] = mask
            elif "masks" in self.extras:
                volumes[self.output_dir / "masks" / name / f"{case}.nii.gz"] = mask
            if "cams" in self.extras:
                volumes[self.output_dir / "cams" / name / f"{case}.nii.gz"] = cam.astype(np.float32)
            for path, volume in volumes.items():
                if shown:
                    _save(volume, affine, path)
                else:
                    path.unlink(missing_ok=True)  # an earlier run may have had the branch
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


def _save(volume: np.ndarray, affine: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial_{path.name}")
    nib.save(nib.Nifti1Image(volume, affine), partial)
    partial.replace(path)
