"""Files whose bytes depend on what is packed alone: JSON, checksums, the zip, TorchScript without machine paths."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from bundle.data.cache import sha256

CHECKSUMS = "checksums.sha256"  # as `sha256sum --check` reads it
LARGE_FILES = "large_files.yml"
LARGE_BYTES = 25 * 10**6  # the zoo's limit
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can tell


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """In the order given, one key a line."""
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")


def files_of(folder: Path) -> Iterator[Path]:
    """All files, sorted by their path; caches of Python are none."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    yield from sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def write_large_files(folder: Path) -> list[Path]:
    """Lists the files that the zoo keeps elsewhere; whoever uploads them fills in ``url``. None: no list."""
    large = [path for path in files_of(folder) if path.stat().st_size > LARGE_BYTES]
    if large:
        entries = [
            {
                "path": p.relative_to(folder).as_posix(),
                "url": "",
                "hash_val": sha256(p),
                "hash_type": "sha256",
            }
            for p in large
        ]
        text = yaml.safe_dump({"large_files": entries}, sort_keys=False)
        (folder / LARGE_FILES).write_text(text, encoding="utf-8")
    return large


def write_checksums(folder: Path) -> None:
    """The checksum of every file but this one."""
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files_of(folder)]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def read_checksums(folder: Path) -> dict[str, str]:
    """Path to checksum."""
    lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}


def write_zip(folder: Path, path: Path) -> None:
    """The folder under its own name, sorted, without times."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in files_of(folder):
            entry = zipfile.ZipInfo(f"{folder.name}/{file.relative_to(folder).as_posix()}", EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, file.read_bytes())


def strip_debugging(torchscript: Path) -> None:
    """Take out of a TorchScript file where its source lay on the machine that exported it; it runs without."""
    reader = torch._C.PyTorchFileReader(str(torchscript))
    records = {
        name: reader.get_record(name) for name in reader.get_all_records() if not name.endswith(".debug_pkl")
    }
    del reader
    own = {".data/serialization_id", "version", "byteorder"}  # the writer's
    writer = torch._C.PyTorchFileWriter(str(torchscript))
    writer.set_min_version(int(records["version"]))
    for name, content in records.items():
        if name not in own:
            writer.write_record(name, content, len(content))
    writer.write_end_of_file()
