"""The prostate phantom's surroundings: fat, bones, muscles, bladder, rectum, seminal vesicles, vessels.

Positions are mm from the gland's centre; x runs to the right, y to the front, z to the head. Sides mirror each
other until the subject's deformation parts them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bundle.data.phantom_shapes import Canvas, capsule, ellipsoid


def paint_pelvis(canvas: Canvas, points: np.ndarray, half: Sequence[float], rng: np.random.Generator) -> None:
    """Paints all but the gland.

    Args:
        canvas: fat so far.
        points: (3, X, Y, Z), deformed positions.
        half: half axes of the gland, which the organs around it touch.
        rng: source of all that is drawn.
    """
    mirrored = np.stack([np.abs(points[0]), points[1], points[2]])
    canvas.t2 *= np.exp(0.10 * canvas.grid.noise(5, rng) + 0.06 * canvas.grid.noise(15, rng))
    _paint_wall(canvas, points, mirrored, rng)
    _paint_bones(canvas, mirrored, rng)
    _paint_floor(canvas, mirrored, half, rng)
    _paint_vessels(canvas, mirrored, half, rng)
    _paint_rectum(canvas, points, half, rng)
    _paint_bladder_and_vesicles(canvas, points, mirrored, half, rng)


def _paint_wall(canvas: Canvas, points: np.ndarray, mirrored: np.ndarray, rng: np.random.Generator) -> None:
    """Skin, air in front of it, and the muscles of wall, buttock and thigh."""
    fat_mm = rng.uniform(12, 34)  # beneath the skin
    streaks = 1 + 0.18 * canvas.grid.noise(6, rng)
    muscles = (
        ellipsoid(mirrored, (62, -74, 0), (50, 24, 90)),  # gluteus maximus
        ellipsoid(mirrored, (80, 44, 5), (30, 24, 90)),  # iliopsoas, sartorius
        ellipsoid(mirrored, (46, 36, -34), (26, 19, 34)),  # pectineus, obturator externus
        ellipsoid(mirrored, (16, 68, 25), (20, 7, 50)),  # rectus abdominis
    )
    uneven = 1.5 * canvas.grid.noise(14, rng)
    for muscle in muscles:
        canvas.paint(muscle + uneven, "muscle", streaks)
    body = ellipsoid(points, (0, -12, 0), (190, 94 + fat_mm, 400))
    canvas.paint(2.5 - body, "skin")
    canvas.paint(-body, "air")


def _paint_bones(canvas: Canvas, mirrored: np.ndarray, rng: np.random.Generator) -> None:
    """Hip and femoral head, pubis with its rami, sacrum and coccyx: marrow in a dark shell."""
    marrow = np.exp(0.12 * canvas.grid.noise(8, rng))
    hip = np.maximum(
        ellipsoid(mirrored, (72, -4, 24), (13, 36, 38)),  # acetabulum
        ellipsoid(mirrored, (68, -20, -28), (15, 21, 48)),  # ischium
    )
    pubis = ellipsoid(mirrored, (14.5, 46, -6), (12, 15, 24))
    pubis = np.maximum(pubis, capsule(mirrored, (12, 48, 4), (64, 26, 24), 7.5))  # upper branch
    pubis = np.maximum(pubis, capsule(mirrored, (14, 38, -22), (52, -8, -52), 6.5))  # lower branch
    sacrum = ellipsoid(mirrored, (0, -72, 34), (30, 9, 40))
    femur = np.maximum(
        ellipsoid(mirrored, (92, 4, 20), (24, 24, 24)), capsule(mirrored, (92, 4, 18), (140, -6, -30), 15)
    )
    for bone in (hip, pubis, sacrum, femur):
        canvas.paint(bone + 1.2, "cortex")
        canvas.paint(bone - 0.6, "marrow", marrow)
    canvas.paint(ellipsoid(mirrored, (0, 47, -6), (3.5, 12, 20)), "cartilage", blur_mm=1)


def _paint_floor(
    canvas: Canvas, mirrored: np.ndarray, half: Sequence[float], rng: np.random.Generator
) -> None:
    """Obturator internus, levator ani, and below the apex the sphincter, the penile bulb and its crura."""
    x, y, z = mirrored
    streaks = 1 + 0.15 * canvas.grid.noise(5, rng)
    canvas.paint(ellipsoid(mirrored, (51, -2, 2), (13, 38, 85)), "muscle", streaks)
    wide = np.clip(half[0] + 4 + 0.2 * (z + half[2]), 12, 42)  # a funnel
    sheet = 1.9 - np.abs(np.hypot(x / wide, (y + 14) / (wide + 16)) - 1) * wide
    sheet = np.minimum(sheet, np.minimum(half[1] + 2 - y, 30 - z))
    canvas.paint(sheet, "muscle", streaks, blur_mm=0.5)
    apex = -half[2]
    canvas.paint(capsule(mirrored, (0, -2, apex - 2), (0, 0, apex - 8), 7), "muscle")
    canvas.paint(capsule(mirrored, (0, -2, apex), (0, 0, apex - 14), 3.2), "urethra", blur_mm=1.5)
    bulb = np.exp(0.1 * canvas.grid.noise(8, rng))
    canvas.paint(ellipsoid(mirrored, (0, 2, apex - 18), (11, 14, 10)), "bulb", bulb)
    canvas.paint(capsule(mirrored, (16, 22, apex - 8), (42, -10, apex - 34), 5.5), "bulb", bulb)


def _paint_vessels(
    canvas: Canvas, mirrored: np.ndarray, half: Sequence[float], rng: np.random.Generator
) -> None:
    """Venous plexus in front of the gland and beside it, and the femoral vessels."""
    lakes = np.abs(canvas.grid.noise(6, rng))
    plexus = np.maximum(
        ellipsoid(mirrored, (0, half[1] + 5, -4), (18, 6, half[2])),
        ellipsoid(mirrored, (0.82 * half[0] + 4, -0.55 * half[1] - 2, 0), (6, 6, half[2] + 4)),
    )
    canvas.paint(np.minimum(plexus, 2.0 * (lakes - 0.45)), "veins", blur_mm=1)
    canvas.paint(capsule(mirrored, (64, 62, -60), (50, 54, 60), 5), "veins")
    canvas.paint(capsule(mirrored, (76, 64, -60), (60, 60, 60), 4), "cortex")  # flow takes the signal


def _paint_rectum(
    canvas: Canvas, points: np.ndarray, half: Sequence[float], rng: np.random.Generator
) -> None:
    """A tube behind the gland with gas, stool or fluid; below the apex it narrows to the anal canal."""
    x, y, z = points
    wide = rng.uniform(9, 19)
    narrow = np.clip((z + half[2] + 14) / 16, 0, 1)
    radius = 7 + (wide - 7) * narrow + 1.8 * canvas.grid.noise(20, rng)
    middle = rng.normal(0, 3) + 4 * np.sin(z / 25 + rng.uniform(0, 6))
    squash = rng.uniform(1.0, 1.3)
    behind = -(half[1] * 0.83 + (wide + 2) / squash) - 0.003 * np.clip(z, -30, 60) ** 2
    tube = radius + 3 - np.hypot(x - middle, (y - behind) * squash)
    canvas.paint(tube, "bowel wall")
    wall_mm = 3 + 3 * (1 - narrow)
    stool = np.exp(0.35 * canvas.grid.noise(6, rng))
    canvas.paint(tube - wall_mm, rng.choice(["stool", "stool", "stool", "bowel fluid"]), stool, stool**0.7)
    gas = np.minimum(tube - wall_mm, y - behind - rng.uniform(-16, 12))  # it rises
    canvas.paint(gas, "air")


def _paint_bladder_and_vesicles(
    canvas: Canvas, points: np.ndarray, mirrored: np.ndarray, half: Sequence[float], rng: np.random.Generator
) -> None:
    """The bladder on the gland's base, more or less full, and the seminal vesicles behind it."""
    full = rng.uniform(0.65, 1.2)
    size = (46 * full, 34 * full, 34 * full)
    centre = (rng.normal(0, 3), 0.25 * half[1] + 6, half[2] + 0.86 * size[2])
    bladder = ellipsoid(points, centre, size) + 1.5 * canvas.grid.noise(25, rng)
    canvas.paint(bladder + rng.uniform(2.5, 5.5), "bladder wall")
    canvas.paint(bladder, "urine")
    level = half[2] + rng.uniform(0, 5)
    back = -0.62 * half[1] - rng.uniform(1, 5)
    vesicles = capsule(
        mirrored, (4, back + 3, level + 2), (rng.uniform(26, 38), back - 6, level + 14), rng.uniform(6, 9.5)
    )
    lumen = np.abs(canvas.grid.noise(5, rng))  # coiled tubes with thin walls
    canvas.paint(vesicles, "bladder wall")
    canvas.paint(np.minimum(vesicles - 0.8, 3.0 * (lumen - 0.25)), "vesicle")
