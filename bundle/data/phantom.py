"""The phantom: a synthetic glioma cohort on real anatomy, written in the BraTS layout."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from tqdm import tqdm

from bundle.data.phantom_anatomy import Grid, draw_anatomy, load_template, template_grid
from bundle.data.phantom_contrast import draw_images
from bundle.data.phantom_lesion import draw_lesion, plan_lesion

SPLITS = ("train", "validation", "test")
HEALTHY_SHARE = 0.2
LGG_SHARE = 0.25  # of the patients; BraTS 2019 has 76 of 335


@dataclass(frozen=True)
class _Subject:
    case: str
    stratum: str
    seed: np.random.SeedSequence


def make_phantom(
    output_dir: str | Path,
    subjects: Sequence[int] = (24, 6, 12),
    seed: int = 0,
    spacing_mm: float = 2.0,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Writes a synthetic cohort as BraTS is downloaded, with its splits.

    Each subject is the ICBM152 template, deformed, with an intensity per tissue and modality, bias field,
    texture, Rician noise and harmless bright spots; HGG and LGG subjects carry a lesion, healthy ones none.
    ``output_dir/<HGG|LGG|healthy>/<case>/<case>_<t1|t1ce|t2|flair|seg>.nii.gz`` (int16, 0 outside the brain;
    seg uint8 with 1 core, 2 oedema, 4 enhancing) and ``output_dir/splits.json``.
    The default takes about a minute on two cores and 65 MB.

    Args:
        output_dir: folder to write to; files of the same names are replaced.
        subjects: number of subjects for train, validation and test. A fifth is healthy (at least one in a
            split of five or more), a quarter of the others LGG.
        seed: the cohort is a function of it, of ``subjects`` and of ``spacing_mm`` alone.
        spacing_mm: edge length of a voxel; one seed shows the same heads and lesions at every spacing.
        workers: threads; all cores by default. The files don't depend on it.
        progress: show a progress bar.

    Returns:
        ``output_dir``.

    Raises:
        ValueError: an argument is out of range.
    """
    subjects = _checked_subjects(subjects)
    if not 0.5 <= spacing_mm <= 8:
        raise ValueError(f"phantom: spacing_mm must lie between 0.5 and 8 mm, found {spacing_mm}; use 2.0")
    if seed < 0:
        raise ValueError(f"phantom: seed must not be negative, found {seed}; use 0 or more")
    output_dir = Path(output_dir)
    cohort = _plan_cohort(subjects, seed)
    load_template()  # once, before the threads ask for it
    grid = template_grid(spacing_mm)
    everyone = [subject for split in cohort.values() for subject in split]
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        jobs = [pool.submit(_write_subject, subject, grid, output_dir) for subject in everyone]
        try:
            for job in tqdm(jobs, desc="phantom", unit="subject", disable=not progress):
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    splits = {name: [subject.case for subject in split] for name, split in cohort.items()}
    (output_dir / "splits.json").write_text(json.dumps(splits, indent=2) + "\n")
    return output_dir


def _checked_subjects(subjects: Sequence[int]) -> tuple[int, ...]:
    counts = tuple(subjects)
    if len(counts) != len(SPLITS) or any(int(n) != n or n < 0 for n in counts) or sum(counts) == 0:
        raise ValueError(
            f"phantom: subjects must be three counts (train, validation, test), found {counts}; use 24,6,12"
        )
    return tuple(int(n) for n in counts)


def _plan_cohort(subjects: tuple[int, ...], seed: int) -> dict[str, list[_Subject]]:
    """Deals case ids, strata and child seeds to the splits."""
    root = np.random.SeedSequence(seed)
    dealer, *children = root.spawn(1 + sum(subjects))
    rng = np.random.default_rng(dealer)
    cohort: dict[str, list[_Subject]] = {}
    number = 0
    for name, count in zip(SPLITS, subjects, strict=True):
        cohort[name] = []
        for stratum in rng.permutation(_strata(count)):
            cohort[name].append(_Subject(f"phantom_s{seed}_{number:03d}", str(stratum), children[number]))
            number += 1
    return cohort


def _strata(count: int) -> list[str]:
    """Strata of one split: each occurs in a split of five or more."""
    healthy = max(round(HEALTHY_SHARE * count), int(count >= 3))
    low = max(round(LGG_SHARE * (count - healthy)), int(count >= 3))
    return ["healthy"] * healthy + ["LGG"] * low + ["HGG"] * (count - healthy - low)


def _write_subject(subject: _Subject, grid: Grid, output_dir: Path) -> None:
    shape_seed, lesion_seed, image_seed = (np.random.default_rng(s) for s in subject.seed.spawn(3))
    plan = push = lesion = None
    if subject.stratum != "healthy":
        plan = plan_lesion(subject.stratum, lesion_seed)
        push = (plan.centre_mm, plan.radius_mm)
    anatomy = draw_anatomy(grid, shape_seed, push)
    if plan is not None:
        lesion = draw_lesion(plan, anatomy, lesion_seed)
    labels = np.zeros(grid.shape, np.uint8) if lesion is None else lesion.labels
    folder = output_dir / subject.stratum / subject.case
    folder.mkdir(parents=True, exist_ok=True)
    for part, array in {**draw_images(anatomy, lesion, image_seed), "seg": labels}.items():
        _write(array, grid, folder / f"{subject.case}_{part}.nii.gz")


def _write(array: np.ndarray, grid: Grid, path: Path) -> None:
    """Stores the volume with axes towards L, P, S, as BraTS does; a file appears whole or not at all."""
    affine = np.diag([-grid.spacing_mm, -grid.spacing_mm, grid.spacing_mm, 1.0])
    last = [grid.spacing_mm * (n - 1) for n in grid.shape]
    affine[:3, 3] = np.add(grid.origin_mm, [last[0], last[1], 0.0])
    image = nib.Nifti1Image(np.ascontiguousarray(array[::-1, ::-1]), affine)
    image.header.set_xyzt_units("mm")
    partial = path.with_name("." + path.name)  # a name that no reader takes for a scan
    nib.save(image, partial)
    os.replace(partial, path)
