"""The phantom: a synthetic glioma cohort on real anatomy, written in the BraTS layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from bundle.data.phantom_anatomy import Grid, draw_anatomy, load_template, template_grid
from bundle.data.phantom_cohort import check_cohort, save_whole, write_cohort_splits, write_subjects
from bundle.data.phantom_contrast import draw_images
from bundle.data.phantom_lesion import draw_lesion, plan_lesion
from bundle.data.splits import SPLITS

SUBJECTS = (24, 6, 12)
SPACING_MM = 2.0
HEALTHY_SHARE = 0.2
LGG_SHARE = 0.25  # of the patients; BraTS 2019 has 76 of 335


@dataclass(frozen=True)
class _Subject:
    case: str
    stratum: str
    seed: np.random.SeedSequence


def make_phantom(
    output_dir: str | Path,
    subjects: Sequence[int] = SUBJECTS,
    seed: int = 0,
    spacing_mm: float = SPACING_MM,
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
    subjects = check_cohort(subjects, seed, spacing_mm, (SUBJECTS, SPACING_MM))
    output_dir = Path(output_dir)
    cohort = _plan_cohort(subjects, seed)
    load_template()  # once, before the threads ask for it
    grid = template_grid(spacing_mm)
    everyone = [subject for split in cohort.values() for subject in split]
    write_subjects(everyone, lambda subject: _write_subject(subject, grid, output_dir), workers, progress)
    cases = {name: [subject.case for subject in split] for name, split in cohort.items()}
    write_cohort_splits(output_dir, cases)
    return output_dir


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
    for part, array in {**draw_images(anatomy, lesion, image_seed), "seg": labels}.items():
        _write(array, grid, folder / f"{subject.case}_{part}.nii.gz")


def _write(array: np.ndarray, grid: Grid, path: Path) -> None:
    """Stores the volume with axes towards L, P, S, as BraTS does."""
    affine = np.diag([-grid.spacing_mm, -grid.spacing_mm, grid.spacing_mm, 1.0])
    last = [grid.spacing_mm * (n - 1) for n in grid.shape]
    affine[:3, 3] = np.add(grid.origin_mm, [last[0], last[1], 0.0])
    image = nib.Nifti1Image(np.ascontiguousarray(array[::-1, ::-1]), affine)
    save_whole(image, path)
