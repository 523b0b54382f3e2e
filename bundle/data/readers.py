"""From a folder to case records: BraTS, Medical Segmentation Decathlon, or any tree."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import itk
import nibabel as nib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import SpatialImage

from bundle.data.decathlon import download_decathlon, find_decathlon
from bundle.data.folder_patterns import find_folder
from bundle.data.modality_names import (
    ALIASES,
    match_modalities,
    meaning,
    usable_modalities,
    with_reference,
)
from bundle.data.records import CaseRecord, ImageSource
from bundle.data.scans import NIFTI_SUFFIXES, SCAN_SUFFIXES, existing_folder, scan_stem

_STRATA = ("hgg", "lgg", "healthy")
_BRATS_FILE = re.compile(
    r"(?P<case>[^.].*?)[_-](?P<part>t1ce|t1c|t1n|t1|t2w|t2f|t2|flair|seg)\.nii(\.gz)?", re.IGNORECASE
)

__all__ = ["ALIASES", "download_decathlon", "find_brats", "find_cases", "find_decathlon", "find_folder"]


def find_brats(
    input_dir: str | Path,
    modalities: Sequence[str] | None = None,
    reference: str | None = None,
    complete: bool = True,
) -> list[CaseRecord]:
    """Find cases as BraTS 2018 to 2023 is downloaded, in any depth of folders or flat in one.

    Both naming schemes: ``BraTS19_X_1_t1ce.nii.gz`` (t1, t1ce or t1c, t2, flair, seg) and
    ``BraTS-GLI-00000-000-t1c.nii.gz`` (t1n, t1c, t2w, t2f, seg), .nii or .nii.gz. A parent folder HGG, LGG or
    healthy gives the stratum.

    Args:
        input_dir: folder to search.
        modalities: which ones, in which order, by any of their names (`ALIASES`); the name asked for is
            kept. By default t1, t1c, t2, flair.
        reference: a modality to note as well, for its grid.
        complete: whether each modality must be there; at inference one may be missing in all cases.

    Returns:
        Records sorted by case. A modality that a case lacks has a path that does not exist, so that
        `read_case` can name it.

    Raises:
        FileNotFoundError: no such folder, no BraTS files, or (`complete`) a modality that no case has.
        ValueError: two files for one case and modality, or an unknown modality.
    """
    root = existing_folder(input_dir)
    names = with_reference(modalities or list(ALIASES), reference)
    wanted = match_modalities(names, list(ALIASES))
    found: dict[str, dict[str, Path]] = {}
    for path, match in _brats_files(root):
        case = match["case"]
        part = match["part"].lower()
        files = found.setdefault(case, {})
        known = files.setdefault(meaning(part), path)
        if known != path:
            raise ValueError(
                f"case {case}: modality {part} should be one file (found {known} and {path}); move one away"
            )
    found = {case: files for case, files in found.items() if set(files) - {"seg"}}
    if not found:
        raise FileNotFoundError(
            f"{root} should hold BraTS files such as CASE_flair.nii.gz or CASE-t2f.nii.gz (found none); "
            "check the folder, or use the source `folder` with `--patterns`"
        )
    for name, canonical in zip(names, wanted, strict=True):
        if complete and not any(canonical in files for files in found.values()):
            raise FileNotFoundError(f"no case in {root} has modality {name}; drop it from `modalities`")
    records = []
    for case, files in sorted(found.items()):
        some = next(path for part, path in files.items() if part != "seg")
        images = {
            name: ImageSource(files.get(canonical, _brats_sibling(some, name)))
            for name, canonical in zip(names, wanted, strict=True)
        }
        records.append(CaseRecord(case, images, files.get("seg"), stratum=_stratum(some, root)))
    return records


def find_cases(
    dataset_dir: str | Path,
    modalities: Sequence[str],
    patterns: Mapping[str, str] | None = None,
    reference: str | None = None,
    available: Any = None,
) -> list[CaseRecord]:
    """Find raw cases to predict, whatever their layout: by patterns if given, else BraTS names, else
    dataset.json (training and test), else image files with one channel a modality. Files may be missing.

    Args:
        dataset_dir: folder to search.
        modalities: the network's modalities, in its order; it is the order of channels in plain 4D files.
        patterns: see `find_folder`.
        reference: a modality to note as well, for its grid; plain files have only `modalities`.
        available: those of `modalities` to look for, see `usable_modalities`; plain files have them all.

    Raises:
        FileNotFoundError, ValueError: nothing found, or as the finder that was chosen.
    """
    root = existing_folder(dataset_dir)
    usable = usable_modalities(available, modalities)
    if patterns:
        return find_folder(root, patterns, usable, reference, complete=False)
    if next((match for _, match in _brats_files(root) if match["part"].lower() != "seg"), None):
        return find_brats(root, usable, reference, complete=False)
    if (root / "dataset.json").is_file():
        return find_decathlon(root, usable, ("training", "test"), reference)
    count = len(modalities)
    records: dict[str, CaseRecord] = {}
    for path in sorted(root.rglob("*")):
        if path.name.startswith(".") or not path.name.lower().endswith(SCAN_SUFFIXES):
            continue
        if (channel_count(path) > 1) != (count > 1):
            continue
        case = scan_stem(path)
        if case in records:
            one = next(iter(records[case].images.values())).path
            raise ValueError(f"case {case}: should be one file (found {one} and {path}); rename one")
        images = {
            name: ImageSource(path, channel, count) if count > 1 else ImageSource(path)
            for channel, name in enumerate(modalities)
        }
        records[case] = CaseRecord(case, images)
    if not records:
        raise FileNotFoundError(
            f"{root} should hold cases with {', '.join(modalities)}: BraTS names (CASE_flair.nii.gz), a "
            f"Decathlon dataset.json, or files with {count} channels (found none of them); "
            "give `patterns`, or a datalist"
        )
    return [records[case] for case in sorted(records)]


def _brats_files(root: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    for path in sorted(root.rglob("*.nii*")):
        if (match := _BRATS_FILE.fullmatch(path.name)) and path.is_file():
            yield path, match


def _brats_sibling(path: Path, name: str) -> Path:
    """Path that a missing modality would have beside another file of the case."""
    match = _BRATS_FILE.fullmatch(path.name)
    start, end = match.span("part") if match else (0, 0)
    return path.with_name(path.name[:start] + name + path.name[end:])


def _stratum(path: Path, root: Path) -> str | None:
    folders = [root.name, *path.relative_to(root).parts[:-1]]
    return next((folder for folder in reversed(folders) if folder.lower() in _STRATA), None)


def channel_count(path: Path) -> int:
    """Number of channels by the header alone; without a readable one 1: the file fails when it is read."""
    try:
        if path.name.lower().endswith(NIFTI_SUFFIXES):
            shape = cast(SpatialImage, nib.load(path)).shape
            return shape[-1] if len(shape) > 3 else 1
        header = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
        header.SetFileName(str(path))
        header.ReadImageInformation()
    except (ImageFileError, OSError, EOFError, RuntimeError, AttributeError):
        return 1
    extra = header.GetDimensions(3) if header.GetNumberOfDimensions() > 3 else 1
    return int(header.GetNumberOfComponents() * extra)
