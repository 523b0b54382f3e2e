"""From the path of one image to its case: modalities that lie beside each other are found by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle.data.datalists import is_prepared_case
from bundle.data.modality_names import ALIASES, meaning
from bundle.data.readers import channel_count
from bundle.data.scans import SCAN_SUFFIXES, scan_stem

_SEPARATORS = re.compile(r"([_\-. ]+)")


def entry_of_path(path: str | Path, modalities: Sequence[str]) -> dict[str, Any]:
    """The datalist's entry of the case that a path belongs to, as a viewer or a server hands it over.

    A prepared case is taken as it is, and so is a file with several channels. Else one part of the name, between
    ``_``, ``-``, dots and spaces, tells a modality by any of its names (``017_t1ce.nii.gz``, ``017/flair.nii.gz``, the
    folder ``017_t2/`` of a DICOM series), and the others are those beside it with the same name but for that part.
    What has no such part is a case by itself.

    Args:
        path: file, or folder with a DICOM series.
        modalities: the network's.

    Returns:
        ``{"image": …, "case": …}``; modalities that were not found are left out.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: two files for one modality.
    """
    if not str(path) or not Path(path).exists():
        raise FileNotFoundError(f"image {str(path)!r} does not exist; check the path")
    path = Path(path)
    if is_prepared_case(path):
        return {"image": str(path), "case": path.name}
    parts = _SEPARATORS.split(_stem(path))
    known = {meaning(name) for name in (*ALIASES, *modalities)}
    place = next((i for i in reversed(range(0, len(parts), 2)) if meaning(parts[i]) in known), None)
    if place is None or (path.is_file() and channel_count(path) > 1):
        return {"image": str(path), "case": _stem(path)}
    before, after = "".join(parts[:place]).rstrip("_-. "), "".join(parts[place + 1 :])
    case = (before + after if before else after.lstrip("_-. ")) or path.resolve().parent.name
    found: dict[str, str] = {}
    for other in sorted(path.parent.iterdir()):
        named = _SEPARATORS.split(_stem(other))
        if other.is_dir() != path.is_dir() or [*named[:place], *named[place + 1 :]] != [
            *parts[:place],
            *parts[place + 1 :],
        ]:
            continue
        if other.is_file() and not other.name.lower().endswith(SCAN_SUFFIXES):
            continue
        name = next((m for m in modalities if meaning(m) == meaning(named[place])), None)
        if name in found:
            raise ValueError(
                f"case {case}: modality {name} should be one file (found {found[name]} and {other}); move one away"
            )
        if name is not None:
            found[name] = str(other)
    return {"image": found, "case": case}


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else scan_stem(path)
