"""The two ends of a prediction in a server such as MONAI Label: a path comes in, one label goes out."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from bundle.configuration import check_code, settings_beside
from bundle.data.case_items import case_item
from bundle.data.modality_names import usable_modalities
from bundle.data.names import name_list
from bundle.data.siblings import entry_of_path


class LoadCased(MapTransform):
    """Read the case that a path belongs to, as `bundle.data.CaseDataset` does; what is read already passes through.

    The path is a 4D file, one file of a case whose others lie beside it (`bundle.data.entry_of_path`), the folder of a
    DICOM series, or a prepared case. All that the data set yields is added.

    Args:
        keys: the image's.
        modalities: names, in the order of the network's channels.
        spatial_size: side of the slices; ``None`` for that of the training, which stands beside the weights.
        reference: modality whose grid the others are resampled onto.
        affines_from_reference: trust the reference's affine where headers disagree.
        available: those of the modalities that may be used; ``None`` for all.
        checkpoint: the weights.
        bundle_root: of the bundle whose config this is.

    Raises:
        ValueError: a case that does not fit the network; another bundle's code is loaded in its place.
        FileNotFoundError: there is no such file.
    """

    def __init__(
        self,
        keys: KeysCollection,
        modalities: Sequence[str] | str,
        spatial_size: int | None = None,
        reference: str | None = None,
        affines_from_reference: bool = False,
        available: Sequence[str] | str | None = None,
        checkpoint: str | Path | None = None,
        bundle_root: str | Path | None = None,
    ) -> None:
        super().__init__(keys)
        self.modalities = name_list(modalities)
        self.usable = usable_modalities(available, self.modalities)
        self.spatial_size, self.checkpoint, self.bundle_root = spatial_size, checkpoint, bundle_root
        self.grid: dict[str, Any] = {
            "reference": reference,
            "affines_from_reference": affines_from_reference,
        }

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            if not isinstance(d[key], (str, os.PathLike)):
                continue
            if self.bundle_root is not None:
                check_code(self.bundle_root)
            size = self.spatial_size
            if (
                size is None and self.checkpoint is not None
            ):  # anew each time: a training may have replaced it
                size = settings_beside(self.checkpoint).get("spatial_size")
            entry = entry_of_path(d[key], self.modalities)
            item = case_item(entry, self.modalities, self.usable, size, **self.grid)
            d.update({**item, key: item.pop("image")})
        return d


class MaskAsLabeld(Transform):
    """Leave the fused mask as MONAI Label's writer takes it: ``pred``, uint8 (X, Y, Z) on the scan's own grid.

    With ``evidence`` in the data, as a request's parameters put it there, ``pred`` is the fused map instead, float32
    in [0, 1]. ``mask`` is the same array, under the name that ``metadata.json`` gives the label. ``result`` holds the
    case and ``warnings``, which the reply shows.

    Args:
        modalities: names of the network's channels, for the warnings.
    """

    def __init__(self, modalities: Sequence[str] | str) -> None:
        self.modalities = name_list(modalities)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        evidence = str(d.get("evidence", False)).lower() in ("true", "1")
        volume = torch.as_tensor(d["cams" if evidence else "masks"])[-1].cpu().numpy()
        d["pred"] = d["mask"] = volume.astype(np.float32 if evidence else np.uint8, copy=False)
        affine = np.asarray(d["affine"])
        described = {"affine": affine, "original_affine": affine, "spatial_shape": volume.shape}
        for key in ("image", "pred", "mask"):
            d[f"{key}_meta_dict"] = dict(described)
        if os.path.isdir(
            str(d.get("image_path", ""))
        ):  # a DICOM series has no ending for the answer to take over
            d["result_extension"] = d.get("result_extension") or ".nii.gz"
        d["result"] = {"case": d["case"], "warnings": self._warnings(d)}
        return d

    def _warnings(self, d: Mapping[Hashable, Any]) -> list[str]:
        there = [n for n, shown in zip(self.modalities, d["available"].tolist(), strict=True) if shown]
        missing = [name for name in self.modalities if name not in there]
        if not missing:
            return []
        verb = "is" if len(missing) == 1 else "are"
        return [
            f"case {d['case']}: {', '.join(missing)} {verb} missing; the prediction is made from "
            f"{', '.join(there)} alone"
        ]
