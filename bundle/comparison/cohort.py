"""The data of a comparison: a prepared data set, a folder of scans that is prepared once, or the phantom."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from tqdm import tqdm

from bundle.comparison.locks import locked
from bundle.comparison.scales import PhantomSize
from bundle.data.cache import PreparedCase
from bundle.data.datalists import is_prepared_dataset
from bundle.data.modality_names import match_modalities
from bundle.data.prepare import PrepareOptions
from bundle.data.sources import prepare_source

PHANTOM = "phantom"
# No figure of this project was tuned on the cohort of this seed.
PHANTOM_SEED = 311


@dataclass(frozen=True)
class Cohort:
    """A prepared data set as a comparison sees it.

    Args:
        dataset_dir: the prepared data set.
        source: where it came from: ``phantom``, ``brats`` …
        modalities: in its order.
        spatial_size: side of the slices in pixels.
        splits: fold to its file; a single ``None`` for the data set's own split.
        cases: number of cases by split, of the first fold.
        digests: fold to a hash of what its runs depend on: images, tags and masks of its cases. Of the images it
            covers statistics and the middle slice, since reading all would take longer than a run.
    """

    dataset_dir: Path
    source: str
    modalities: tuple[str, ...]
    spatial_size: int
    splits: dict[int | None, str]
    cases: dict[str, int]
    digests: dict[int | None, str]


def open_cohort(
    dataset_dir: str,
    output_dir: Path,
    size: PhantomSize,
    anatomy: str,
    folds: int | None,
    modalities: Sequence[str] = (),
) -> Cohort:
    """Find the data, preparing them first where needed.

    Args:
        dataset_dir: ``phantom``, a prepared data set, or raw scans in the BraTS or decathlon layout, whose tags
            are then derived from the masks.
        output_dir: of the comparison; what is prepared lies under it.
        size: of the phantom, and of the slices of raw scans.
        anatomy: of the phantom.
        folds: number of folds, or ``None`` for the data set's own split.
        modalities: which of the data's; all if empty.

    Raises:
        FileNotFoundError: nothing lies there, or a prepared data set has no such folds.
    """
    folder = Path(dataset_dir)
    if not is_prepared_dataset(folder):
        folder = _prepare(dataset_dir, output_dir, size, anatomy, folds, modalities)
    described = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    files = _split_files(folder, folds)
    first = json.loads((folder / next(iter(files.values()))).read_text(encoding="utf-8"))
    cases = {name: len(first[name]) for name in ("train", "validation", "test")}
    size_px = PreparedCase.open(folder / "cases" / described["cases"][0]).geometry.size
    every = tqdm(described["cases"], desc="checking data", unit="case")
    hashed = {case: _hash_case(folder, case) for case in every}
    return Cohort(
        folder,
        str(described["source"]),
        tuple(match_modalities(list(modalities) or described["modalities"], described["modalities"])),
        size_px,
        files,
        cases,
        {fold: _digest(folder / file, hashed) for fold, file in files.items()},
    )


def _prepare(
    dataset_dir: str,
    output_dir: Path,
    size: PhantomSize,
    anatomy: str,
    folds: int | None,
    modalities: Sequence[str],
) -> Path:
    """Prepare under the comparison's own folder; what is there already is taken over.

    Each source, size and number of folds has a folder of its own, which one process at a time may fill.
    """
    folder = Path(dataset_dir)
    if dataset_dir != PHANTOM and not folder.is_dir():
        raise FileNotFoundError(
            f"--dataset_dir {dataset_dir}: expected a prepared data set, a folder of scans or the word phantom, "
            f"found nothing; correct it"
        )
    origin = anatomy + (f"_{size.label}" if size.label else "")
    if dataset_dir != PHANTOM:
        origin = f"{folder.resolve().name}_{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:6]}"
    origin += "".join(f"_{name}" for name in modalities)
    made = output_dir / "data" / f"{origin}_{size.spatial_size}{f'_folds{folds}' if folds else ''}"
    options = PrepareOptions(list(modalities), spatial_size=size.spatial_size, folds=folds)
    with locked(made.with_suffix(".lock")):
        if dataset_dir == PHANTOM:
            options = replace(options, seed=PHANTOM_SEED)
            prepare_source(
                PHANTOM, made, options, subjects=size.subjects, spacing_mm=size.spacing_mm, anatomy=anatomy
            )
        else:
            source = "decathlon" if (folder / "dataset.json").is_file() else "brats"
            try:
                prepare_source(source, made, replace(options, tags_from_masks=True), input_dir=folder)
            except (ValueError, FileNotFoundError) as error:
                raise ValueError(
                    f"{error} (with options of its own, such as --splits or --patterns, scripts.prepare_data prepares "
                    f"these scans for you: give its output as --dataset_dir)"
                ) from error
    return made


def _split_files(folder: Path, folds: int | None) -> dict[int | None, str]:
    files: dict[int | None, str] = {None: "splits.json"}
    if folds:
        files = {fold: f"splits_fold{fold}.json" for fold in range(folds)}
    for file in files.values():
        if not (folder / file).is_file():
            raise FileNotFoundError(
                f"dataset_dir {folder}: {file} is missing; prepare it again with --folds {folds}"
                if folds
                else f"dataset_dir {folder}: {file} is missing; give --folds k if it has folds, or prepare it again"
            )
    if folds and (folder / f"splits_fold{folds}.json").is_file():
        raise ValueError(
            f"dataset_dir {folder}: --folds is {folds}, but there are more; give their number, so that "
            f"every patient is tested"
        )
    return files


def _hash_case(folder: Path, case: str) -> str:
    """Of a case's content, wherever its files lie: tags, statistics, the middle slice's pixels, the mask's voxels."""
    prepared = PreparedCase.open(folder / "cases" / case)
    middle = prepared.slices // 2
    described: list[object] = [prepared.modalities, prepared.geometry.to_dict()]
    if "volume_tag" in prepared.described:  # else the hash stays what it was
        described.append(prepared.volume_tag)
    found = hashlib.sha256(json.dumps(described).encode())
    for array in (
        prepared.tags,
        prepared.blank,
        np.array([f"{value:.4g}" for value in prepared.statistics.ravel()]),
        np.asarray(prepared.image[middle]),
        np.packbits(prepared.foreground[middle]),
    ):
        found.update(array.tobytes())
    mask = folder / "masks" / f"{case}.nii.gz"
    if mask.is_file():
        found.update(np.packbits(nib.nifti1.load(mask).get_fdata(dtype=np.float32) > 0).tobytes())
    return found.hexdigest()


def _digest(splits: Path, hashed: dict[str, str]) -> str:
    named = json.loads(splits.read_text(encoding="utf-8"))
    content = {name: [(case, hashed[case]) for case in named[name]] for name in sorted(named)}
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
