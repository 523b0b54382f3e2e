"""What a user painted or noted about a case, as tags of its slices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data.grids import Grid
from bundle.data.labels import NEGATIVE, POSITIVE, UNTAGGED, read_label
from bundle.data.masks import read_mask
from bundle.data.scans import read_scan_3d

HEALTHY, DONE = (
    "healthy",
    "done",
)  # names of labels that are no tumour: paint in them says something of slices


def tags_of_label(
    path: str | Path, info: Mapping[str, Any], slices: int, case: str, grid: Grid | None = None
) -> tuple[np.ndarray, bool]:
    """What a label that was saved in a viewer says of single slices, and whether it says that the case is done.

    Paint is a dab: it tags the slices that it lies in and says nothing of the others. Those count as negative if the
    user says that the case is done: by ``"done": true`` among what was saved with the label, or by paint of a label
    named ``done``, anywhere. A full mask is a label of a case that is done. Paint of a label named ``healthy`` tags
    its slice negative. A JSON file is read as `bundle.data.read_label` does; its ``complete`` says that the case is
    done. Whether the rest is negative is settled where all labels of a case are known (`tags_of_labels`).

    Args:
        path: volume on the scan's grid, or JSON.
        info: what was saved with the label; ``label_info``, a list of ``{"name": …, "idx": …}`` as 3D Slicer sends it,
            names the values. Without it, each value above 0 is tumour.
        slices: number of slices of the scan.
        case: case id, for errors.
        grid: the scan's grid.

    Returns:
        Tags (S,) int8: 1 positive, 0 negative, -1 untagged; and whether the case is done.

    Raises:
        ValueError: a label on another grid; a slice that is tagged both ways; as `bundle.data.read_label`.
    """
    path = Path(path)
    done = str(info.get("done", False)).lower() in ("true", "1")
    if path.suffix.lower() == ".json":
        tags, note = read_label(path, slices, case, grid), json.loads(path.read_text(encoding="utf-8"))
        if note.get("complete", False):
            done = True
            listed = np.isin(np.arange(slices), note.get("negative_slices", []))
            tags = np.where((tags == NEGATIVE) & ~listed, np.int8(UNTAGGED), tags)
    else:
        values = _values(path, case, grid)
        if values.shape[2] != slices:
            raise ValueError(
                f"case {case}: label {path} should have {slices} slices along its third axis, as the scan (found "
                f"{values.shape[2]}); save it on the scan's grid"
            )
        named = {str(one.get("name", "")).lower(): one.get("idx") for one in info.get("label_info") or []}
        healthy, finished = (values == named[name] if name in named else None for name in (HEALTHY, DONE))
        painted = values > 0
        for other in (healthy, finished):
            painted = painted if other is None else painted & ~other
        done = done or (finished is not None and bool(finished.any()))
        positive = painted.any(axis=(0, 1))
        negative = np.zeros(slices, bool) if healthy is None else healthy.any(axis=(0, 1))
        if (both := np.flatnonzero(positive & negative)).size:
            raise ValueError(
                f"case {case}: slice {both[0]} of label {path} is painted as tumour and as {HEALTHY}; erase one"
            )
        tags = np.full(slices, UNTAGGED, dtype=np.int8)
        tags[positive], tags[negative] = POSITIVE, NEGATIVE
    return tags, done


def tags_of_labels(
    labels: Sequence[tuple[str | Path, Mapping[str, Any]]], slices: int, case: str, grid: Grid | None = None
) -> np.ndarray:
    """Tags of one case from all labels that were saved for it, such as one for each of its files.

    What they say of single slices is taken together; if any of them says that the case is done, the rest is negative.

    Args:
        labels: path of each, and what was saved with it.
        slices: number of slices of the scan.
        case: case id, for errors.
        grid: the scan's grid.

    Returns:
        (S,) int8: 1 positive, 0 negative, -1 untagged.

    Raises:
        ValueError: two labels contradict; as `tags_of_label`.
    """
    tags, finished = np.full(slices, UNTAGGED, dtype=np.int8), False
    for path, info in labels:
        found, done = tags_of_label(path, info, slices, case, grid)
        told = found != UNTAGGED
        both = np.flatnonzero(told & (tags != UNTAGGED) & (tags != found))
        if both.size:
            raise ValueError(
                f"case {case}: two of its labels contradict in slice {both[0]} (one is {path}); delete one"
            )
        tags[told] = found[told]
        finished = finished or done
    return np.where((tags == UNTAGGED) & finished, np.int8(NEGATIVE), tags)


def _values(path: Path, case: str, grid: Grid | None) -> np.ndarray:
    """Values (X, Y, Z) of a label that lies on the grid."""
    binary, _ = read_mask(path, case, grid)  # refuses another grid, fractions, NaN
    values = np.rint(read_scan_3d(path, case, "label").array).astype(np.int64)
    if values.shape == binary.shape and np.array_equal(values > 0, binary > 0):
        return values
    if len(np.unique(values)) > 2:
        raise ValueError(
            f"case {case}: label {path} is stored along other axes than the scan and holds several labels; save it on "
            "the scan's grid"
        )
    return binary.astype(np.int64) * values.max()
