"""What a prepared case was made from, so that an interrupted preparation knows what is still current."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle.data.cache import FORMAT
from bundle.data.records import CaseRecord

# A header that names the file of its voxels: MetaImage and NRRD.
_DETACHED = re.compile(rb"^(?:ElementDataFile[ \t]*=|data ?file:)[ \t]*([^\r\n]+)", re.MULTILINE)
_HEADER_SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
_HEADER_BYTES = 65536


def stamp(path: str | Path) -> list[Any]:
    """Name, size and modification time of a file, or of every file in a DICOM folder; only the name of one
    that is missing, which reading it will report. Voxels in a file of their own count as well."""
    path = Path(path)
    if not path.exists():
        return [path.name, None, None]
    if path.is_dir():
        return [[file.name, *stamp(file)[1:]] for file in sorted(path.iterdir()) if file.is_file()]
    return [*_stamp_file(path), *map(_stamp_file, data_files(path))]


def _stamp_file(path: Path) -> list[Any]:
    status = path.stat() if path.exists() else None
    return [path.name, status and status.st_size, status and status.st_mtime_ns]


def mask_stamp(path: Path) -> str:
    """Short digest of a mask's name, size, modification time and contents."""
    digest = hashlib.sha256(json.dumps(stamp(path)).encode())
    folder = sorted(path.iterdir()) if path.is_dir() else [path, *data_files(path)]
    for file in folder:
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def data_files(path: Path) -> list[Path]:
    """Files that hold the voxels of a header (.mhd, .nhdr); none if they follow in the same file."""
    if path.suffix.lower() == ".hdr":  # Analyze
        return [image for image in [path.with_suffix(".img")] if image.exists()]
    if path.suffix.lower() not in _HEADER_SUFFIXES:
        return []
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    found = _DETACHED.search(header)
    name = found[1].decode(errors="replace").strip() if found else "LOCAL"
    if name == "LOCAL":
        return []
    if name.startswith("LIST") and found:
        names = header[found.end() :].decode(errors="replace").splitlines()
        return [path.parent / line.strip() for line in names if line.strip()]
    if "%" in name:
        return [
            file
            for file in sorted(path.parent.glob(re.sub(r"%\d*d", "*", name.split(" ")[0])))
            if file != path
        ]
    return [path.parent / name]


def image_recipe(
    record: CaseRecord,
    modalities: Sequence[str],
    spatial_size: int | None,
    reference: str | None = None,
    affines_from_reference: bool = False,
) -> str:
    """Short digest of all that a case's stored slices depend on; tags and masks are not among it."""
    sources = [record.images[m] for m in modalities if m in record.images]
    if reference is not None and reference not in modalities and reference in record.images:
        sources.append(record.images[reference])
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
