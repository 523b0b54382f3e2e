"""Checks of a bundle that only look at its files. Each returns what it found, or raises with fault and remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bundle.data.cache import sha256
from bundle.packing import demands
from bundle.packing.archive import CHECKSUMS, LARGE_BYTES, LARGE_FILES, files_of, read_checksums

PACK_AGAIN = "pack it again"
DECIDING = ("bundle/", "scripts/", "configs/", "models/model.")
OTHER_TYPES = (
    "{} in configs/metadata.json should be of the types that the check of metadata wants; correct it"
)


def check_files(folder: Path) -> str:
    """Every file that the zoo, its tools or we ask for is there."""
    wanted = (*demands.NECESSARY_FILES, *demands.PREFERRED_FILES, *demands.OWN_FILES)
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"expected {', '.join(missing)}, found none; {PACK_AGAIN}")
    return f"all {len(wanted)} are there"


def check_name(folder: Path) -> str:
    """The folder is called organ_modality_task."""
    name = folder.resolve().name
    if not re.fullmatch(demands.NAME, name):
        raise ValueError(f"expected organ_modality_task in small letters, found {name!r}; rename the folder")
    return name


def check_metadata(folder: Path) -> str:
    """All required fields are there, and each is of its type."""
    if faults := demands.metadata_faults(_metadata(folder)):
        raise ValueError(f"{'; '.join(faults)}; correct configs/metadata.json")
    return f"{len(demands.REQUIRED)} required fields, types as demanded"


def check_version(folder: Path) -> str:
    """The version stands in the changelog."""
    metadata = _metadata(folder)
    version, changelog = metadata.get("version"), metadata.get("changelog", {})
    if not isinstance(version, str) or not isinstance(changelog, dict):
        raise ValueError(OTHER_TYPES.format("version and changelog"))
    if version not in changelog:
        raise ValueError(
            f"version {version} is not in the changelog (which has {', '.join(changelog) or 'none'}); describe it "
            f"there, in configs/metadata.json"
        )
    return f"{version}: {changelog[version]}"


def check_packages(folder: Path) -> str:
    """Each package is pinned to one version."""
    metadata = _metadata(folder)
    pins = {name: metadata.get(f"{name}_version") for name in ("monai", "pytorch", "numpy")}
    required = metadata.get("required_packages_version", {})
    if not isinstance(required, dict):
        raise ValueError(OTHER_TYPES.format("required_packages_version"))
    pins |= required
    loose = [
        f"{name} {pin}" for name, pin in pins.items() if not re.fullmatch(demands.EXACT_VERSION, str(pin))
    ]
    if loose:
        raise ValueError(f"expected one version each, found {', '.join(loose)}; write it out, as in 1.2.3")
    return f"{len(pins)} are pinned"


def check_documents(folder: Path) -> str:
    """The model card says first what the weights saw, and has the template's sections; licences are not empty."""
    lines = _text(folder, "docs/README.md").splitlines()
    if not lines or not lines[0].startswith(demands.CARD_BEGINS):
        raise ValueError(
            f"docs/README.md: expected a first line {demands.CARD_BEGINS + '…'!r}, found "
            f"{lines[0] if lines else 'nothing'!r}; say there what the weights were trained on"
        )
    headings = {line.lstrip("#").strip() for line in lines if line.startswith("#")}
    missing = [section for section in demands.CARD_SECTIONS if section not in headings]
    if missing:
        raise ValueError(f"docs/README.md: sections {', '.join(missing)} are missing; add them")
    for name in ("LICENSE", "docs/data_license.txt"):
        if not _text(folder, name).strip():
            raise ValueError(f"{name}: expected terms, found an empty file; fill it in")
    return f"{lines[0]}"


def check_sizes(folder: Path) -> str:
    """Files above the zoo's limit are listed, and the list is right."""
    file = folder / LARGE_FILES
    listed = {}
    if file.is_file():
        try:
            entries = yaml.safe_load(_text(folder, LARGE_FILES))["large_files"]
            listed = {entry["path"]: entry["hash_val"] for entry in entries}
        except (yaml.YAMLError, KeyError, TypeError) as error:
            raise ValueError(
                f"{LARGE_FILES}: expected large_files, a list with path and hash_val, found other ({error}); "
                f"{PACK_AGAIN}"
            ) from None
    for path in files_of(folder):
        name = path.relative_to(folder).as_posix()
        if path.stat().st_size > LARGE_BYTES and name not in listed:
            raise ValueError(
                f"{name} has {path.stat().st_size / 1e6:.0f} MB, expected at most {LARGE_BYTES / 1e6:.0f} or an entry "
                f"in {LARGE_FILES}; {PACK_AGAIN}"
            )
    for name, digest in listed.items():
        if (folder / name).is_file() and digest != sha256(folder / name):
            raise ValueError(f"{name} is not the file that {LARGE_FILES} means; {PACK_AGAIN}")
    return f"{len(listed)} files above {LARGE_BYTES / 1e6:.0f} MB, all listed"


def check_checksums(folder: Path) -> str:
    """Every file that was packed is as it was packed; no code, config or weight was added. Results may lie there."""
    known = read_checksums(folder)
    present = {path.relative_to(folder).as_posix() for path in files_of(folder)}
    added = sorted(name for name in present - set(known) if name.startswith(DECIDING))
    if added:
        raise ValueError(
            f"{CHECKSUMS} does not list {', '.join(added[:3])}; take away what was added, or {PACK_AGAIN}"
        )
    for name, digest in known.items():
        if not (folder / name).is_file():
            raise ValueError(f"{name} was packed and is missing; copy it again, or {PACK_AGAIN}")
        if sha256(folder / name) != digest:
            raise ValueError(
                f"{name} was changed after packing ({CHECKSUMS} tells); copy it again, or {PACK_AGAIN}"
            )
    return f"{len(known)} files are as packed"


# What is told first: a bundle of which files are missing fails several.
CHECKS: dict[str, Callable[[Path], str]] = {
    "files": check_files,
    "name": check_name,
    "metadata": check_metadata,
    "version": check_version,
    "packages": check_packages,
    "documents": check_documents,
    "sizes": check_sizes,
    "checksums": check_checksums,
}


def _text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}: expected UTF-8, found another encoding ({error}); save it as UTF-8"
        ) from None


def _metadata(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(folder, "configs/metadata.json"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"configs/metadata.json: no JSON at line {error.lineno}: {error.msg}; correct it"
        ) from None
    if not isinstance(found, dict):
        raise ValueError(
            f"configs/metadata.json: expected an object, found {type(found).__name__}; correct it"
        )
    return found
