"""Lets MONAI Label import torchvision where its compiled operators do not load, as on a CPU without a wheel for torch.

MONAI Label needs none of them, but importing torchvision registers fakes for two, whose schemas must be there. Python
imports this module by itself when its folder is on PYTHONPATH. It is part of the tests, never of the product.
"""

import importlib.util
from pathlib import Path

import torch


def _operators_load() -> bool:
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return True  # nothing to help
    for file in Path(found.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(file))
        except OSError:
            return False
        return True
    return False


if not _operators_load():
    SCHEMAS = torch.library.Library("torchvision", "DEF")
    SCHEMAS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    SCHEMAS.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
