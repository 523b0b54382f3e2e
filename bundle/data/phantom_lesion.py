"""The phantom's lesion: an irregular glioma with oedema, enhancing rim and necrotic core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bundle.data.phantom_anatomy import Anatomy, Grid, load_template, smooth_noise

CORE, OEDEMA, ENHANCING = 1, 2, 4  # BraTS labels
VOLUME_ML = (20.0, 180.0)  # whole tumour; BraTS 2019 has a median near 90 mL
VOLUME_MEDIAN_ML, VOLUME_LOG_SD = 95.0, 0.5
CORE_SHARE = {"HGG": (0.25, 0.55), "LGG": (0.0, 0.15)}  # of the whole tumour
RIM_MM = (3.0, 6.0)  # thickness of the enhancing rim
LOWEST_CENTRE_MM, DEEPEST_CENTRE_MM = -8.0, 14.0  # above the cerebellum; that far below the surface


@dataclass(frozen=True)
class LesionPlan:
    """What is drawn before the anatomy: where, how large, how elongated.

    Args:
        grade: ``HGG`` or ``LGG``.
        centre_mm: world position.
        volume_ml: volume of the whole tumour.
        axes: relative semi-axes, geometric mean 1.
    """

    grade: str
    centre_mm: np.ndarray
    volume_ml: float
    axes: np.ndarray

    @property
    def radius_mm(self) -> float:
        """Radius of the sphere with the lesion's volume."""
        return float((self.volume_ml * 1000 * 3 / (4 * np.pi)) ** (1 / 3))


@dataclass(frozen=True)
class Lesion:
    """One lesion on a subject's grid.

    Args:
        labels: uint8, BraTS labels.
        oedema, rim, core: float32 shares in [0, 1] with soft borders, for mixing intensities.
    """

    labels: np.ndarray
    oedema: np.ndarray
    rim: np.ndarray
    core: np.ndarray


def plan_lesion(grade: str, rng: np.random.Generator) -> LesionPlan:
    """Draws a lesion's place and size: in the cerebrum, mostly below the cortex."""
    template = load_template()
    coarse = tuple(slice(None, None, 4) for _ in range(3))
    depth = ndimage.distance_transform_edt(template.brain[coarse] > 0.5) * 4
    tissue = template.gm[coarse] + template.wm[coarse] > 0.8
    height = template.origin_mm[2] + 4 * np.arange(tissue.shape[2])
    candidates = np.argwhere(tissue & (depth > DEEPEST_CENTRE_MM) & (height > LOWEST_CENTRE_MM))
    centre = candidates[rng.integers(len(candidates))] * 4.0 + np.asarray(template.origin_mm)
    if abs(centre[0]) < 16:  # gliomas grow in a hemisphere, seldom astride the midline
        centre[0] = np.sign(centre[0] + 0.5) * 16
    volume = np.clip(VOLUME_MEDIAN_ML * np.exp(rng.normal(0, VOLUME_LOG_SD)), *VOLUME_ML)
    axes = np.exp(rng.normal(0, 0.15, 3) + np.array([0, 0, 0.15]))  # taller than wide, as masks are
    return LesionPlan(grade, centre + rng.uniform(-2, 2, 3), float(volume), axes / np.prod(axes) ** (1 / 3))


def draw_lesion(plan: LesionPlan, anatomy: Anatomy, rng: np.random.Generator) -> Lesion:
    """Grows the planned lesion into one subject's tissue.

    Oedema follows white matter, stops at fluid and hardly crosses the midline; the whole has the planned
    volume. The core lies inside it; with HGG a rim of it enhances, with LGG nothing does.
    """
    grid = anatomy.grid
    reach = plan.radius_mm - _distance(grid, plan.centre_mm, plan.axes)
    extent = reach + 0.22 * plan.radius_mm * smooth_noise(grid, 22, rng) + 1.6 * smooth_noise(grid, 9, rng)
    extent += 7.0 * (ndimage.gaussian_filter(anatomy.wm, 2 / grid.spacing_mm) - 0.5)
    across = -np.sign(plan.centre_mm[0]) * grid.axes_mm()[0]
    extent -= 9.0 * np.clip((across + 4) / 8, 0, 1)
    tissue = ndimage.gaussian_filter(anatomy.gm + anatomy.wm, 1.5 / grid.spacing_mm)
    extent = np.where(anatomy.brain & (tissue > 0.55), extent, -60.0).astype(np.float32)
    extent -= _level_for(extent, plan.volume_ml / grid.voxel_ml)
    whole = _largest(extent > 0)
    extent = np.where(whole, np.maximum(extent, 0.01), np.where(extent > 0, -60.0, extent))

    share = rng.uniform(*CORE_SHARE[plan.grade])
    inner = reach + 0.15 * plan.radius_mm * smooth_noise(grid, 14, rng) + 1.2 * smooth_noise(grid, 7, rng)
    inner = np.where(extent > 0, np.minimum(inner, 60), -60.0).astype(np.float32)
    inner -= _level_for(inner, share * whole.sum())
    inside = _largest(inner > 0)
    rim = np.zeros_like(inside)
    if plan.grade == "HGG" and inside.any():
        thickness = rng.uniform(*RIM_MM) * np.clip(1 + 0.35 * smooth_noise(grid, 12, rng), 0.4, 2.5)
        border = ndimage.distance_transform_edt(inside) * grid.spacing_mm
        rim = inside & (border <= np.maximum(thickness, grid.spacing_mm))  # closed on every grid

    labels = np.where(whole, OEDEMA, 0).astype(np.uint8)
    labels[inside] = CORE
    labels[rim] = ENHANCING
    soft = 0.6 / grid.spacing_mm
    rim_share, core_share = (
        ndimage.gaussian_filter((labels == value).astype(np.float32), soft) for value in (ENHANCING, CORE)
    )
    # Oedema fades over a few millimetres about its border, which lies where it is half as strong.
    fade = 1 / (1 + np.exp(-np.clip(extent, -30, 30) / rng.uniform(0.6, 1.4)))
    oedema = np.clip(fade - rim_share - core_share, 0, 1) * anatomy.brain
    return Lesion(labels, oedema.astype(np.float32), rim_share, core_share)


def _distance(grid: Grid, centre: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return np.sqrt(sum(((x - c) / a) ** 2 for x, c, a in zip(grid.axes_mm(), centre, axes, strict=True)))


def _level_for(field: np.ndarray, voxels: float) -> float:
    """The level above which the field has the given number of voxels."""
    count = int(np.clip(round(voxels), 0, field.size - 1))
    return float(np.partition(field, -count - 1, axis=None)[-count - 1])


def _largest(mask: np.ndarray) -> np.ndarray:
    parts, count = ndimage.label(mask)
    if count > 1:
        mask = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return ndimage.binary_fill_holes(mask)
