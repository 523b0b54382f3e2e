"""Inference in MONAI Label's server; nearly all of it is what any bundle gets."""

from __future__ import annotations

from typing import Any

import torch
from monailabel.tasks.infer.bundle import BundleInferTask
from monailabel.utils.others.generic import name_to_device


class TagInferTask(BundleInferTask):
    """A bundle's inference, which refuses weights that do not fit and offers the evidence.

    Args:
        path: folder of the bundle.
        conf: the server's.
    """

    def __init__(self, path: str, conf: dict[str, str]) -> None:
        super().__init__(path, conf, load_strict=True)
        self.dimension = 3  # whole volumes come out, though the network sees slices
        self._config.update({"evidence": False})

    def branch_maps(self, image: str, device: str | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps (N, H, W, S) of the branches whose modality a case has, and its foreground (1, H, W, S)."""
        device = name_to_device(device)
        data: dict[str, Any] = {**self._config, "image": image, "image_path": image, "device": device}
        data = self.run_pre_transforms(data, self.pre_transforms(data))
        available, foreground = data["available"], data["foreground"]
        cams = self.run_inferer(data, device=device)["pred"]["cam"]
        return (cams[available.to(cams.device)] if len(available) == len(cams) else cams), foreground
