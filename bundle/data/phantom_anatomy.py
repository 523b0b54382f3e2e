"""The phantom's anatomy: the ICBM152 tissue maps, deformed for one subject."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bundle.data.phantom_noise import spline_noise

ROTATION_DEG = 4.0  # standard deviation of each of the three head rotations
SCALE_SD = 0.04  # of the logarithm of each axis' size; adult brains differ by about 10 % in volume
SHIFT_MM = 3.0
DISPLACEMENT_MM = 2.5  # standard deviation of the smooth displacement, per axis
DISPLACEMENT_SCALE_MM = 32.0  # distance of its control points
SURFACE_MM = 3  # fluid that skull stripping takes off
CORTEX_SHARPNESS = 1.6  # exponent that undoes some of the blur of averaging 152 brains
VENTRICLE_BOX_MM = (
    (-42.0, 42.0),
    (-52.0, 40.0),
    (-14.0, 32.0),
)  # world x, y, z around the lateral ventricles


@dataclass(frozen=True)
class Grid:
    """A voxel grid over the template's field of view (197 x 233 x 189 mm), axes towards R, A, S.

    Args:
        shape: voxels along x, y and z.
        spacing_mm: edge length of a voxel.
        origin_mm: world position of voxel (0, 0, 0).
    """

    shape: tuple[int, ...]
    spacing_mm: float
    origin_mm: tuple[float, ...]

    @property
    def voxel_ml(self) -> float:
        return self.spacing_mm**3 / 1000.0

    def axes_mm(self) -> list[np.ndarray]:
        """World coordinates along each axis, shaped to broadcast over the grid."""
        vectors = [
            o + self.spacing_mm * np.arange(n) for o, n in zip(self.origin_mm, self.shape, strict=True)
        ]
        return [v.reshape([-1 if i == a else 1 for i in range(3)]) for a, v in enumerate(vectors)]


@dataclass(frozen=True)
class Template:
    """ICBM152 maps at 1 mm, float32: tissue shares, brain in {0, 1}, distance to the lateral ventricles."""

    gm: np.ndarray
    wm: np.ndarray
    brain: np.ndarray
    ventricle_mm: np.ndarray
    origin_mm: tuple[float, ...]


@dataclass(frozen=True)
class Anatomy:
    """One subject's maps on its grid: tissue shares that sum to 1 inside ``brain``, distances in mm.

    ``depth_mm`` is the distance to the brain's surface, 0 outside.
    """

    grid: Grid
    gm: np.ndarray
    wm: np.ndarray
    csf: np.ndarray
    brain: np.ndarray
    depth_mm: np.ndarray
    ventricle_mm: np.ndarray


@functools.cache
def load_template() -> Template:
    """Reads the maps from nilearn's package data (no network), once a process.

    Source: Fonov et al., NeuroImage 47 (2009), ICBM152 nonlinear symmetric 2009a.

    Raises:
        ValueError: nilearn is not installed.
    """
    if importlib.util.find_spec("nilearn") is None:
        raise ValueError(
            "the phantom is made from a template that the package nilearn ships, found no nilearn; "
            "run `pip install '.[demo]'`"
        )
    from nilearn import datasets  # an extra: nothing but the phantom needs it

    image = datasets.load_mni152_template(resolution=1)
    gm, wm = (
        np.asarray(load(resolution=1).dataobj, np.float32)
        for load in (datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    )
    tight = np.asarray(datasets.load_mni152_brain_mask(resolution=1).dataobj) > 0
    ball = ndimage.generate_binary_structure(3, 1)
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(tight, ball, iterations=6))
    brain = ndimage.binary_opening(brain, ball, iterations=6)  # drops the eyes' stumps
    origin = tuple(float(v) for v in image.affine[:3, 3])
    grid = Grid(brain.shape, 1.0, origin)
    inside = np.ones(brain.shape, bool)
    for axis, (low, high) in zip(grid.axes_mm(), VENTRICLE_BOX_MM, strict=True):
        inside &= (axis > low) & (axis < high)
    fluid = inside & (gm + wm < 0.5) & (ndimage.distance_transform_edt(brain) > 22)
    distance = ndimage.distance_transform_edt(~fluid).astype(np.float32)
    # Skull stripping, as in BraTS, takes the outermost fluid with it.
    brain = ndimage.binary_erosion(brain, ball, iterations=SURFACE_MM)
    return Template(gm, wm, brain.astype(np.float32), np.minimum(distance, 30), origin)


def template_grid(spacing_mm: float) -> Grid:
    """The grid of a subject at ``spacing_mm`` (2 mm: 99 x 117 x 95 voxels)."""
    template = load_template()
    shape = tuple(int(np.ceil(n / spacing_mm)) for n in template.brain.shape)
    return Grid(shape, float(spacing_mm), template.origin_mm)


def smooth_noise(grid: Grid, scale_mm: float, rng: np.random.Generator) -> np.ndarray:
    """`spline_noise` over the template's field of view.

    Returns:
        float32 of the grid's shape, mean about 0 and standard deviation about 1.
    """
    return spline_noise(grid.shape, [grid.spacing_mm] * 3, load_template().brain.shape, scale_mm, rng)


def draw_anatomy(
    grid: Grid, rng: np.random.Generator, push: tuple[np.ndarray, float] | None = None
) -> Anatomy:
    """Deforms the template for one subject: a small affine map plus a smooth random displacement.

    Args:
        grid: the subject's grid.
        rng: source of all that is drawn.
        push: centre (world mm) and radius (mm) of a mass that displaces the tissue around it.
    """
    template = load_template()
    angles = np.deg2rad(rng.normal(0, ROTATION_DEG, 3))
    sizes = np.exp(rng.normal(0, SCALE_SD, 3))
    shift = rng.normal(0, SHIFT_MM, 3)
    matrix = _rotation(angles) / sizes
    axes = grid.axes_mm()
    source = np.empty((3, *grid.shape), np.float32)
    for i in range(3):
        source[i] = sum(matrix[i, j] * (axes[j] - shift[j]) for j in range(3))
        source[i] += DISPLACEMENT_MM * smooth_noise(grid, DISPLACEMENT_SCALE_MM, rng)
    if push is not None:
        centre, radius = push
        offsets = [a - c for a, c in zip(axes, centre, strict=True)]
        distance = np.sqrt(sum(o**2 for o in offsets)) + 1e-3
        # A mass of a quarter of the lesion's radius opens up at the centre and fades over one radius.
        pull = (
            0.25
            * radius
            * np.exp(-(((distance - 0.5 * radius) / radius) ** 2))
            * np.minimum(1, distance / radius)
        )
        for i in range(3):
            source[i] -= pull * offsets[i] / distance
    coordinates = source - np.asarray(template.origin_mm, np.float32).reshape(3, 1, 1, 1)

    def sample(volume: np.ndarray, outside: float = 0.0) -> np.ndarray:
        return ndimage.map_coordinates(volume, coordinates, order=1, mode="constant", cval=outside)

    brain = sample(template.brain) > 0.5
    gm, wm = sample(template.gm), sample(template.wm)
    shares = [np.clip(s, 0, 1) ** CORTEX_SHARPNESS for s in (gm, wm, 1 - gm - wm)]
    total = np.maximum(sum(shares), 1e-6)
    gm, wm, csf = (s / total * brain for s in shares)
    depth = (ndimage.distance_transform_edt(brain) * grid.spacing_mm).astype(np.float32)
    return Anatomy(grid, gm, wm, csf, brain, depth, sample(template.ventricle_mm, outside=30.0))


def _rotation(angles: np.ndarray) -> np.ndarray:
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z
