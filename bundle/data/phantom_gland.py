"""The prostate phantom's gland: two zones, a capsule, nodules, and in some a lesion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bundle.data.phantom_shapes import SLICE_MM, Canvas, SliceGrid, capsule, ellipsoid, level_for

PERIPHERAL, CENTRAL = 1, 2  # labels of Task05_Prostate
VOLUME_ML = (20.0, 90.0)
VOLUME_MEDIAN_ML, VOLUME_LOG_SD = 46.0, 0.42
CENTRAL_SHARE = (0.3, 0.7)  # of the smallest and of the largest gland: hyperplasia is central
LESION_SHARE = 0.45  # of the subjects
LESION_MM = (4.0, 8.5)  # radius
LESION_CONTRAST = {"t2": (0.45, 0.7), "adc": (0.45, 0.65)}  # times the tissue around it


@dataclass(frozen=True)
class GlandPlan:
    """What is drawn before the grid: size and proportions.

    Args:
        volume_ml: of both zones.
        half_mm: half axes, left to right, front to back, head to foot.
        central_share: of the volume.
    """

    volume_ml: float
    half_mm: np.ndarray
    central_share: float


@dataclass(frozen=True)
class Gland:
    """Fields in mm of the whole gland and of its central zone, and the labels (uint8)."""

    whole: np.ndarray
    central: np.ndarray
    labels: np.ndarray


def plan_gland(rng: np.random.Generator) -> GlandPlan:
    """Draws a gland's size: wider than long, longer than deep; the larger, the more of it is central."""
    volume = float(np.clip(VOLUME_MEDIAN_ML * np.exp(rng.normal(0, VOLUME_LOG_SD)), *VOLUME_ML))
    axes = np.array([1.0, 0.72, 0.86]) * np.exp(rng.normal(0, 0.06, 3))
    half = axes * (volume * 1000 / (4 / 3 * np.pi * np.prod(axes))) ** (1 / 3)
    low, high = np.log(VOLUME_ML)
    share = np.interp(np.log(volume), (low, high), CENTRAL_SHARE) + rng.normal(0, 0.07)
    return GlandPlan(volume, half, float(np.clip(share, 0.2, 0.8)))


def draw_gland(plan: GlandPlan, grid: SliceGrid, points: np.ndarray, rng: np.random.Generator) -> Gland:
    """Shapes the gland about the origin of ``points`` (3, X, Y, Z): flat behind, narrow at the apex."""
    x, y, z = points
    across, deep, long = plan.half_mm.tolist()
    taper = 1 + 0.25 * np.clip(-z / long, 0, 1) - 0.06 * np.clip(z / long, 0, 1)
    shaped = np.stack([x * taper, y * np.where(y < 0, 1.18, 0.9) * taper, z])
    whole = ellipsoid(shaped, (0, 0, 0), (across, deep, long))
    whole -= 2.0 * np.exp(-((x / 9) ** 2)) * (y < 0)  # the groove in the midline
    whole += 1.3 * grid.noise(22, rng)
    whole -= level_for(whole, plan.volume_ml / grid.voxel_ml)

    centre = (rng.normal(0, 1.5), 0.2 * deep, 0.16 * long)
    forward = np.stack([x, np.where(y > 0, 0.72 * y, y), z])  # no peripheral zone in front
    central = ellipsoid(forward, centre, (0.9 * across, 0.85 * deep, 0.85 * long))
    central += 0.09 * across * grid.noise(14, rng)
    central = np.minimum(central, np.where(y < 0, whole - 2.0, whole))  # a peripheral rim behind
    central -= level_for(central, plan.central_share * plan.volume_ml / grid.voxel_ml)
    labels = np.where(whole > 0, PERIPHERAL, 0).astype(np.uint8)
    labels[(whole > 0) & (central > 0)] = CENTRAL
    return Gland(whole, np.minimum(central, whole), labels)


def paint_gland(gland: Gland, canvas: Canvas, points: np.ndarray, rng: np.random.Generator) -> None:
    """Puts the zones in: bright periphery, nodules bright and dark, dark capsule and stroma, urethra."""
    grid = canvas.grid
    streaks = np.exp(0.10 * grid.noise(5, rng) + 0.14 * rng.lognormal(0, 0.5) * grid.noise(12, rng))
    canvas.paint(gland.whole + 0.8, "capsule", blur_mm=0.5)
    canvas.paint(gland.whole - 0.3, "peripheral", streaks, streaks**0.8)
    nodules = grid.noise(9, rng)
    between = 1 - 0.3 * np.exp(-((nodules / 0.3) ** 2))  # dark rims of nodules
    texture = np.exp(rng.uniform(0.2, 0.36) * nodules) * between * np.exp(0.12 * grid.noise(4.5, rng))
    canvas.paint(gland.central + 0.9, "capsule", blur_mm=0.8)
    canvas.paint(gland.central - 0.3, "central", texture, texture**0.5)
    _, y, z = points
    reach = float(np.max(y[gland.labels > 0]))
    front = ellipsoid(points, (0, reach - 3, 0), (rng.uniform(9, 15), 5.5, 0.6 * float(np.ptp(z)) / 2))
    canvas.paint(np.minimum(front, gland.whole), "stroma", blur_mm=2)
    canvas.paint(np.minimum(capsule(points, (0, -2, -60), (0, 4, 8), 2.2), gland.whole), "urethra", blur_mm=2)
    if rng.random() < LESION_SHARE:
        _paint_lesion(gland, canvas, points, rng)


def _paint_lesion(gland: Gland, canvas: Canvas, points: np.ndarray, rng: np.random.Generator) -> None:
    """A dark focus, mostly in the peripheral zone; it belongs to the gland and has no label."""
    zone = PERIPHERAL if rng.random() < 0.7 else CENTRAL
    inside = (gland.labels == zone) & (gland.whole > 2)
    where = np.argwhere(inside if inside.any() else gland.labels > 0)
    centre = points[(slice(None), *where[rng.integers(len(where))])].tolist()
    radius = rng.uniform(*LESION_MM)
    field = ellipsoid(points, centre, (radius, 0.8 * radius, max(radius, SLICE_MM)))
    field = np.minimum(field + 1.2 * canvas.grid.noise(7, rng), gland.whole)
    share = canvas.grid.share(field, 1.5)
    canvas.t2 *= 1 - share * (1 - rng.uniform(*LESION_CONTRAST["t2"]))
    canvas.adc *= 1 - share * (1 - rng.uniform(*LESION_CONTRAST["adc"]))
