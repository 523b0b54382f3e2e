"""The prostate phantom: a synthetic cohort of T2 and ADC, written as the Decathlon's Task05_Prostate is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bundle.data.phantom_cohort import check_cohort, save_whole, write_cohort_splits, write_subjects
from bundle.data.phantom_gland import draw_gland, paint_gland, plan_gland
from bundle.data.phantom_pelvis import paint_pelvis
from bundle.data.phantom_shapes import SLICE_MM, Canvas, SliceGrid
from bundle.data.splits import SPLITS

SUBJECTS = (20, 4, 8)  # 32, as in Task05_Prostate
SPACING_MM = 1.2
MODALITIES = ("T2", "ADC")
SLICES = (18, 23)
EMPTY_SLICES = 2.5  # at least, above and below the gland
DEFORMATION_MM, DEFORMATION_SCALE_MM = 3.0, 45.0
SIZE_SD = 0.04  # of the logarithm of the pelvis' size along each axis
TISSUES = {  # T2 with muscle as 1, ADC in 1e-3 mm2/s
    "air": (0.0, 0.0),
    "fat": (2.6, 0.12),
    "skin": (1.2, 0.6),
    "muscle": (1.0, 0.92),
    "marrow": (2.3, 0.35),
    "cortex": (0.3, 0.15),
    "cartilage": (1.1, 0.9),
    "veins": (3.9, 1.5),
    "bowel wall": (1.7, 1.2),
    "stool": (1.6, 0.8),
    "bowel fluid": (3.4, 1.9),
    "bladder wall": (1.3, 1.15),
    "urine": (6.0, 2.7),
    "vesicle": (4.6, 1.75),
    "bulb": (3.8, 1.45),
    "urethra": (2.9, 1.4),
    "capsule": (1.2, 1.3),
    "stroma": (1.1, 1.0),
    "peripheral": (3.8, 1.85),
    "central": (2.2, 1.4),
}
TISSUE_SD = {"t2": 0.12, "adc": 0.06}  # of the logarithm of each value, from subject to subject
T2_SCALE = (60.0, 220.0)  # arbitrary scanner units of muscle
T2_NOISE = (0.09, 0.2)
ADC_NOISE = (0.07, 0.13)  # of the correlated noise where the signal is good, 1e-3 mm2/s
ADC_BLUR_MM = 1.1  # its acquisition is coarser: about 2 mm pixels
COIL_SHARE = 0.2  # of the subjects: an endorectal coil


@dataclass(frozen=True)
class _Subject:
    case: str
    seed: np.random.SeedSequence


def make_prostate_phantom(
    output_dir: str | Path,
    subjects: Sequence[int] = SUBJECTS,
    seed: int = 0,
    spacing_mm: float = SPACING_MM,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Writes a synthetic cohort as Task05_Prostate is downloaded, with its splits.

    Each subject is a pelvis of smooth shapes, deformed, in slices of 3.6 mm, 18 or more, over 192 x 192 mm. The
    gland has 20 to 90 ml; at least two slices above it and two below show none of it.
    ``output_dir/imagesTr/<case>.nii.gz`` (int16; T2 in arbitrary units, ADC in 1e-6 mm2/s),
    ``labelsTr/<case>.nii.gz`` (uint8: 1 peripheral, 2 central zone), ``dataset.json`` and ``splits.json``.

    Args:
        output_dir: folder to write to; files of the same names are replaced.
        subjects: number of subjects for train, validation and test.
        seed: the cohort is a function of it, of ``subjects`` and of ``spacing_mm`` alone.
        spacing_mm: edge of a pixel in the slice; one seed shows the same pelves at every one.
        workers: threads; all cores by default. The files don't depend on it.
        progress: show a progress bar.

    Returns:
        ``output_dir``.

    Raises:
        ValueError: an argument is out of range.
    """
    counts = check_cohort(subjects, seed, spacing_mm, (SUBJECTS, SPACING_MM))
    output_dir = Path(output_dir)
    children = np.random.SeedSequence(seed).spawn(sum(counts))
    everyone = [_Subject(f"prostate_s{seed}_{number:03d}", child) for number, child in enumerate(children)]
    write_subjects(everyone, lambda one: _write_subject(one, spacing_mm, output_dir), workers, progress)
    ends = np.cumsum(counts)
    cases = {
        name: [one.case for one in everyone[end - count : end]]
        for name, count, end in zip(SPLITS, counts, ends, strict=True)
    }
    write_cohort_splits(output_dir, cases)
    _write_index(output_dir, [one.case for one in everyone])
    return output_dir


def _write_index(output_dir: Path, cases: Sequence[str]) -> None:
    """The task's dataset.json, written last."""
    index = {
        "name": "PROSTATE",
        "description": "Synthetic prostate transition zone and peripheral zone",
        "tensorImageSize": "4D",
        "modality": {str(channel): name for channel, name in enumerate(MODALITIES)},
        "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "numTraining": len(cases),
        "numTest": 0,
        "training": [
            {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in cases
        ],
        "test": [],
    }
    (output_dir / "dataset.json").write_text(json.dumps(index, indent=2) + "\n")


def _write_subject(subject: _Subject, spacing_mm: float, output_dir: Path) -> None:
    images, labels = draw_subject(subject.seed, spacing_mm)
    affine = np.diag([spacing_mm, spacing_mm, SLICE_MM, 1.0])
    affine[:3, 3] = -np.array([spacing_mm, spacing_mm, SLICE_MM]) * (np.array(labels.shape) - 1) / 2
    for folder, array in (("imagesTr", images), ("labelsTr", labels)):
        save_whole(nib.Nifti1Image(array, affine), output_dir / folder / f"{subject.case}.nii.gz")


def draw_subject(seed: np.random.SeedSequence, spacing_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Draws one subject.

    Args:
        seed: of all that is drawn.
        spacing_mm: edge of a pixel.

    Returns:
        int16 (X, Y, Z, 2) with T2 and ADC, uint8 (X, Y, Z) with the zones; axes towards R, A, S.
    """
    shape_rng, paint_rng, noise_rng = (np.random.default_rng(s) for s in seed.spawn(3))
    plan = plan_gland(shape_rng)
    length = 2 * plan.half_mm[2]
    least = int(np.ceil(1.1 * length / SLICE_MM + 2 * EMPTY_SLICES))
    grid = SliceGrid(spacing_mm, max(int(shape_rng.integers(*SLICES)), least))
    points = _deformed(grid, 1.1 * length, shape_rng)
    gland = draw_gland(plan, grid, points, shape_rng)
    canvas = Canvas(grid, _tissues(paint_rng))
    paint_pelvis(canvas, points, plan.half_mm.tolist(), paint_rng)
    paint_gland(gland, canvas, points, paint_rng)
    t2 = _scan_t2(canvas, points, -float(plan.half_mm[1]), paint_rng, noise_rng)
    adc = _scan_adc(canvas, paint_rng, noise_rng)
    images = np.stack([t2, adc], axis=-1)
    return np.clip(np.rint(images), 1, 32767).astype(np.int16), gland.labels


def _deformed(grid: SliceGrid, length: float, rng: np.random.Generator) -> np.ndarray:
    """Positions in the undeformed pelvis, whose origin is the gland's centre."""
    points = grid.points_mm()
    free = grid.slices * SLICE_MM - length - 2 * EMPTY_SLICES * SLICE_MM
    shift = np.array([rng.normal(0, 4), rng.normal(-6, 6), rng.uniform(-0.5, 0.5) * free])
    angle = np.deg2rad(rng.normal(0, 3))
    sizes = np.exp(rng.normal(0, SIZE_SD, 2))
    x, y, z = (p - s for p, s in zip(points, shift, strict=True))
    turned = np.stack(
        [
            (np.cos(angle) * x + np.sin(angle) * y) / sizes[0],
            (np.cos(angle) * y - np.sin(angle) * x) / sizes[1],
            z,
        ]
    )
    for axis, most in enumerate((DEFORMATION_MM, DEFORMATION_MM, 0.4 * DEFORMATION_MM)):
        turned[axis] += most * grid.noise(DEFORMATION_SCALE_MM, rng)
    return turned.astype(np.float32)


def _tissues(rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """The subject's own values."""
    spread = np.exp(rng.normal(0, 1, (len(TISSUES), 2)) * [TISSUE_SD["t2"], TISSUE_SD["adc"]])
    return {
        name: (t2 * float(a), adc * float(b))
        for (name, (t2, adc)), (a, b) in zip(TISSUES.items(), spread, strict=True)
    }


def _scan_t2(
    canvas: Canvas,
    points: np.ndarray,
    back_mm: float,
    rng: np.random.Generator,
    noise_rng: np.random.Generator,
) -> np.ndarray:
    """T2 in arbitrary units: texture, the coil's gradient, Rician noise."""
    grid = canvas.grid
    signal = canvas.t2 * np.exp(0.04 * grid.noise(3, rng))
    x, y, _ = points
    gain = 0.12 * grid.noise(70, rng) + rng.uniform(0.05, 0.3) * (y / 96) ** 2  # coils in front and behind
    if rng.random() < COIL_SHARE:
        distance = np.hypot(x, y - (back_mm - 8))
        gain = gain + rng.uniform(0.6, 1.0) * np.exp(-distance / 30)
    signal = signal * np.exp(gain)
    sigma = rng.uniform(*T2_NOISE)
    return rng.uniform(*T2_SCALE) * _rician(signal, sigma, noise_rng)


def _scan_adc(canvas: Canvas, rng: np.random.Generator, noise_rng: np.random.Generator) -> np.ndarray:
    """ADC in 1e-6 mm2/s: coarse, its noise as large as T2 is dark."""
    grid = canvas.grid
    blur = (ADC_BLUR_MM / grid.spacing_mm,) * 2 + (0.0,)
    adc, t2 = (ndimage.gaussian_filter(part, blur) for part in (canvas.adc, canvas.t2))
    sigma = rng.uniform(*ADC_NOISE) * np.clip(2.2 / np.maximum(t2, 0.1), 0.6, 1.8)
    kernel = (0.8 / grid.spacing_mm,) * 2 + (0.0,)
    noise = [
        ndimage.gaussian_filter(noise_rng.standard_normal(grid.shape, dtype=np.float32), kernel) for _ in "ri"
    ]
    scale = sigma / max(float(noise[0].std()), 1e-6)
    return 1000 * np.hypot(adc + scale * noise[0], scale * noise[1])


def _rician(signal: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    real, imaginary = (sigma * rng.standard_normal(signal.shape, dtype=np.float32) for _ in range(2))
    return np.hypot(signal + real, imaginary)
