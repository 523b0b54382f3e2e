"""What a prepared case was made from, so that an interrupted preparation knows what is still current."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle.data.cache import FORMAT
from bundle.data.records import CaseRecord


def stamp(path: str | Path) -> list[Any]:
    """Name, size and modification time of a file, or of every file in a DICOM folder; only the name of one
    that is missing, which reading it will report."""
    path = Path(path)
    if not path.exists():
        return [path.name, None, None]
    if path.is_dir():
        return [[file.name, *stamp(file)[1:]] for file in sorted(path.iterdir()) if file.is_file()]
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]


def image_recipe(
    record: CaseRecord,
    modalities: Sequence[str],
    spatial_size: int | None,
    reference: str | None = None,
    affines_from_reference: bool = False,
) -> str:
    """Short digest of all that a case's stored slices depend on; tags and masks are not among it."""
    sources = [record.images[m] for m in modalities if m in record.images]
    used = {
        "format": FORMAT,
        "modalities": list(modalities),
        "sources": [[*stamp(source.path), source.channel, source.channels] for source in sources],
        "foreground": None if record.foreground is None else stamp(record.foreground),
        "spatial_size": spatial_size,
        "reference": reference,
        "affines_from_reference": bool(affines_from_reference),
    }
    return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()[:16]
