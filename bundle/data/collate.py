"""A batch of one whole case: volumes differ in size, so cases are not stacked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bundle.data.geometry import SliceGeometry


def collate_cases(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add a batch axis to one case's tensors, without copying, and put everything else into lists.

    MONAI's decollating splits text but no other objects, so the geometry travels as JSON.

    Raises:
        ValueError: for more than one case.
    """
    if len(items) != 1:
        raise ValueError(
            f"whole cases differ in size: expected a batch_size of 1 in the dataloader, got {len(items)}"
        )
    item = {**items[0], "geometry": json.dumps(items[0]["geometry"].to_dict())}
    return {key: value[None] if isinstance(value, torch.Tensor) else [value] for key, value in item.items()}


def geometry_of(item: Mapping[Any, Any]) -> SliceGeometry:
    """The geometry of a case, whether it went through `collate_cases` or not."""
    geometry = item["geometry"]
    return geometry if isinstance(geometry, SliceGeometry) else SliceGeometry.from_dict(json.loads(geometry))
