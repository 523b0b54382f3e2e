"""Tags of one case: from a label file, or from a mask that is reduced to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data.grids import Grid
from bundle.data.masks import read_mask
from bundle.data.names import nearest_name

VOLUME_METHOD = "method_volume_tags"  # the overlay that learns from tags of whole volumes
SEGMENTER_VOLUME_METHOD = "method_selftrain_volume_tags"  # the one that validates a segmenter on them
POSITIVE, NEGATIVE, UNTAGGED = 1, 0, -1
_KEYS = ("positive_slices", "negative_slices", "complete")


def tags_from_mask(mask: np.ndarray) -> np.ndarray:
    """Tags of a mask: a slice along the third axis is positive if any of its voxels is above 0.

    Args:
        mask: (X, Y, Z).

    Returns:
        (Z,) int8 of 0 and 1.

    >>> tags_from_mask(np.array([[[0, 2, 0]]]))
    array([0, 1, 0], dtype=int8)
    """
    return np.asarray((np.asarray(mask) > 0).any(axis=(0, 1)), dtype=np.int8)


def volume_tag_of(tags: np.ndarray, blank: np.ndarray) -> int | None:
    """Tag of a whole volume, as far as its slices' tags tell: 1 if one is positive, 0 if all are negative.

    Args:
        tags: (S,) of 1, 0 and -1.
        blank: slices without foreground, bool (S,), which do not count.

    Returns:
        1, 0, or ``None`` where untagged slices leave it open.

    >>> volume_tag_of(np.array([0, 1, -1]), np.array([False, False, False]))
    1
    >>> volume_tag_of(np.array([0, 0, -1]), np.array([False, False, False])) is None
    True
    """
    counted = np.asarray(tags)[~np.asarray(blank)]
    if (counted == POSITIVE).any():
        return POSITIVE
    return NEGATIVE if counted.size and (counted == NEGATIVE).all() else None


def read_label(
    path: str | Path, slices: int, case: str | None = None, grid: Grid | None = None
) -> np.ndarray:
    """Tags of one case from a label file; a mask is reduced to its tags here, before anything else sees it.

    A JSON file holds ``tags`` (a list of 1, 0 and -1, as in a prepared case), or ``positive_slices`` and
    ``negative_slices``, counted from 0; with ``"complete": true`` all others are negative, else untagged.

    Args:
        path: JSON file, or a mask.
        slices: number of slices of the scan.
        case: case id for errors; by default the file's name.
        grid: the scan's grid; a mask must lie on it (stored along other axes, it is turned). Without it, the
            mask is taken as stored.

    Returns:
        (S,) int8: 1 positive, 0 negative, -1 untagged.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unknown keys; slices out of range, in both lists, or no whole numbers; a wrong number of
            tags or slices; a mask that `read_mask` refuses.
    """
    path = Path(path)
    case = case or path.name
    if not path.is_file():
        raise FileNotFoundError(f"case {case}: label {path} does not exist; check the datalist")
    if path.suffix.lower() != ".json":
        mask, _ = read_mask(path, case, grid, [grid] if grid else [])
        derived = tags_from_mask(mask)
        if len(derived) != slices:
            raise ValueError(
                f"case {case}: mask {path} should have {slices} slices along its third axis, as the scan "
                f"(found {len(derived)}); give a mask on the scan's grid"
            )
        return derived
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"case {case}: label {path} is no JSON ({error}); correct the file") from None
    subject = f"case {case}: label {path}"
    if isinstance(content, dict) and "tags" in content:
        listed = content["tags"]
        tags = listed if isinstance(listed, list) else []
        if len(tags) != slices or not all(_whole(t) and -1 <= t <= 1 for t in tags):
            raise ValueError(
                f"{subject}: tags should be {slices} of 1, 0 and -1 (found {len(tags)}: {listed!r:.60}); "
                "correct it"
            )
        return np.array(tags, dtype=np.int8)
    return _tags_of_lists(content, slices, subject)


def _tags_of_lists(content: Any, slices: int, subject: str) -> np.ndarray:
    if not isinstance(content, dict) or not set(content) & set(_KEYS):
        raise ValueError(f"{subject}: should hold tags or {', '.join(_KEYS)} (found none); add one")
    for key in content:
        if key not in _KEYS:
            raise ValueError(f"{subject}: {key} is not known; {nearest_name(key, _KEYS)}")
    complete = content.get("complete", False)
    if not isinstance(complete, bool):
        raise ValueError(f"{subject}: complete should be true or false (found {complete!r}); correct it")
    tags = np.full(slices, NEGATIVE if complete else UNTAGGED, dtype=np.int8)
    lists = {key: content.get(key, []) for key in _KEYS[:2]}
    for key, indices in lists.items():
        listed = indices if isinstance(indices, list) else [indices]
        bad = [i for i in listed if not (_whole(i) and 0 <= i < slices)]
        if bad or listed is not indices:
            raise ValueError(
                f"{subject}: {key} should list whole numbers from 0 to {slices - 1} "
                f"(found {(bad or listed)[0]!r}); correct it"
            )
        tags[indices] = POSITIVE if key == "positive_slices" else NEGATIVE
    both = sorted(set(lists["positive_slices"]) & set(lists["negative_slices"]))
    if both:
        raise ValueError(
            f"{subject}: slice {both[0]} is listed as positive and as negative; remove it from one"
        )
    return tags


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
