"""What every phantom's cohort shares: arguments checked, subjects written in threads, files whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import nibabel as nib
from tqdm import tqdm

from bundle.data.splits import SPLITS

Subject = TypeVar("Subject")


def check_cohort(
    subjects: Sequence[int], seed: int, spacing_mm: float, default: tuple[tuple[int, ...], float]
) -> tuple[int, ...]:
    """The numbers of subjects, or a `ValueError` if they, the seed or the voxel size are out of range.

    Args:
        subjects: for train, validation and test.
        seed: 0 or more.
        spacing_mm: edge of a voxel, 0.5 to 8 mm.
        default: numbers of subjects and voxel size that errors recommend.
    """
    counts = tuple(subjects)
    if len(counts) != len(SPLITS) or any(int(n) != n or n < 0 for n in counts) or sum(counts) == 0:
        raise ValueError(
            f"phantom: subjects must be three counts (train, validation, test), found {counts}; "
            f"use {','.join(map(str, default[0]))}"
        )
    if not 0.5 <= spacing_mm <= 8:
        raise ValueError(
            f"phantom: spacing_mm must lie between 0.5 and 8 mm, found {spacing_mm}; use {default[1]}"
        )
    if seed < 0:
        raise ValueError(f"phantom: seed must not be negative, found {seed}; use 0 or more")
    return tuple(int(n) for n in counts)


def write_subjects(
    subjects: Sequence[Subject], write: Callable[[Subject], None], workers: int | None, progress: bool
) -> None:
    """Writes the subjects in threads; the first error stops those that have not begun.

    Args:
        subjects: whom to write.
        write: writes one; what it writes depends on its argument alone.
        workers: threads; all cores by default.
        progress: show a bar.
    """
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        jobs = [pool.submit(write, subject) for subject in subjects]
        try:
            for job in tqdm(jobs, desc="phantom", unit="subject", disable=not progress):
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def write_cohort_splits(output_dir: Path, cases: Mapping[str, Sequence[str]]) -> None:
    """Writes ``splits.json``, in the order the cases were dealt."""
    splits = {name: list(members) for name, members in cases.items()}
    (output_dir / "splits.json").write_text(json.dumps(splits, indent=2) + "\n")


def save_whole(image: nib.Nifti1Image, path: Path) -> None:
    """Stores a volume in mm; the file appears whole or not at all."""
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name("." + path.name)  # a name that no reader takes for a scan
    nib.save(image, partial)
    os.replace(partial, path)
