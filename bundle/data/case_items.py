"""One whole case as inference takes it, prepared or raw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bundle.data.availability import available_in, read_available, spread
from bundle.data.cache import PreparedCase
from bundle.data.datalists import is_prepared_case, raw_record, truth_path
from bundle.data.slices import SliceArrays, to_slices


def case_item(
    entry: dict[str, Any],
    modalities: Sequence[str],
    usable: Sequence[str],
    spatial_size: int | None = None,
    reference: str | None = None,
    affines_from_reference: bool = False,
) -> dict[str, Any]:
    """What `bundle.data.CaseDataset` yields, before its transform; a raw case is prepared in memory.

    Args:
        entry: of a datalist.
        modalities: the network's, in its order.
        usable: those of them that may be used, in the same order.
        spatial_size: side of the slices; checked on a prepared case, used for a raw one.
        reference: modality whose grid the others are resampled onto, for a raw case.
        affines_from_reference: trust the reference's affine where headers disagree, for a raw case.
    """
    arrays: PreparedCase | SliceArrays
    if is_prepared_case(entry["image"]):
        case = PreparedCase.open(entry["image"])
        check_size(case, spatial_size)
        there = available_in(case, usable)
        name, channels, arrays = case.case, case.channels(there), case
    else:
        record = raw_record(entry, modalities, reference, complete=False)
        volumes = read_available(record, modalities, usable, reference, affines_from_reference)
        there = list(volumes.modalities)
        name, channels = record.case, list(range(len(there)))
        arrays = to_slices(volumes, spatial_size)
    image, statistics = spread(arrays, channels, there, modalities)
    foreground = arrays.foreground.astype(np.float32)
    return {
        "image": torch.from_numpy(image).permute(1, 2, 3, 0),
        "foreground": torch.from_numpy(foreground)[None].permute(0, 2, 3, 1),
        "statistics": torch.from_numpy(statistics),
        "geometry": arrays.geometry,
        "case": name,
        "truth": str(truth_path(entry) or ""),
        "blank": torch.from_numpy(arrays.blank),
        "available": torch.tensor([modality in there for modality in modalities]),
    }


def check_size(case: PreparedCase, spatial_size: int | None) -> None:
    """Raise `ValueError` where a case was prepared at another size than that of the network's slices."""
    if spatial_size is not None and case.geometry.size != spatial_size:
        raise ValueError(
            f"case {case.case}: prepared at {case.geometry.size} pixels, "
            f"but `spatial_size` is {spatial_size}; set `spatial_size` to {case.geometry.size} "
            f"or prepare again with --spatial_size {spatial_size}"
        )
