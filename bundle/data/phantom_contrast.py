"""The phantom's intensities: what tissues, confounders and lesion parts look like in T1, T1c, T2 and FLAIR.

All numbers are relative to white matter. They were set once so that a cohort is as hard as real glioma
(docs/decisions/phantom_calibration.md) and are frozen: with one of them, every figure on the phantom changes.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bundle.data.phantom_anatomy import Anatomy, smooth_noise
from bundle.data.phantom_lesion import Lesion

MODALITIES = ("t1", "t1ce", "t2", "flair")
TISSUE = {  # grey matter, fluid; white matter is 1
    "t1": (0.82, 0.42),
    "t1ce": (0.86, 0.45),
    "t2": (1.22, 2.70),
    "flair": (1.15, 0.45),
}
LESION = {  # oedema, rim, core
    "t1": (0.88, 0.92, 0.80),
    "t1ce": (0.87, 1.48, 0.80),
    "t2": (1.90, 1.78, 2.05),
    "flair": (1.70, 1.62, 1.40),
}
SPOT = {"t1": 0.92, "t1ce": 0.94, "t2": 1.45, "flair": 1.65}  # white matter hyperintensity, on white matter
VESSEL = {"t1": 0.85, "t1ce": 1.75, "t2": 0.9, "flair": 0.9}
TISSUE_SD = 0.05  # of the logarithm of each tissue's value, from subject to subject
LESION_SD = 0.22  # of the logarithm of the lesion's contrast to white matter, from subject to subject
LESION_TEXTURE = {"t1": 0.2, "t1ce": 0.45, "t2": 0.22, "flair": 0.25}  # SD of its contrast inside one lesion
BIAS_SD = 0.08  # of the logarithm of the bias field
TEXTURE_SD = 0.035  # tissue texture
NOISE = (0.02, 0.045)  # standard deviation of the Rician noise
FLOW_SHARE = 0.6  # how much of the FLAIR suppression of fluid a flow artefact undoes
SCALE = (300.0, 1200.0)  # arbitrary scanner units of white matter


def draw_images(anatomy: Anatomy, lesion: Lesion | None, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws the four modalities of one subject, skull-stripped.

    Returns:
        modality to int16 image: 0 outside the brain and at least 1 inside.
    """
    grid = anatomy.grid
    spots = _white_matter_spots(anatomy, rng)
    vessels = _vessels(anatomy, rng)
    flow = np.clip(smooth_noise(grid, 24, rng) - 1.0, 0, 1)
    cortex = 1 + 0.06 * smooth_noise(grid, 36, rng)
    texture = smooth_noise(grid, 7, rng)
    pattern = 0.7 * smooth_noise(grid, 16, rng) + 0.7 * smooth_noise(grid, 6, rng)
    severity = rng.normal(0, 0.7)  # oedema that is strong in FLAIR is so in T2
    images = {}
    for modality in MODALITIES:
        gm, csf = np.array(TISSUE[modality]) * np.exp(rng.normal(0, TISSUE_SD, 2))
        fluid = csf + (FLOW_SHARE * (1 - csf) * flow if modality == "flair" else 0)
        image = anatomy.wm + gm * cortex * anatomy.gm + fluid * anatomy.csf
        image = image + spots * (SPOT[modality] - 1)
        image = image + vessels * (VESSEL[modality] - image)
        image *= 1 + TEXTURE_SD * (0.6 * texture + 0.8 * smooth_noise(grid, 5, rng))
        if lesion is not None:
            contrast = np.exp(LESION_SD * (0.7 * severity + 0.7 * rng.standard_normal()))
            image = _mix(image, lesion, LESION[modality], contrast * (1 + LESION_TEXTURE[modality] * pattern))
        image *= np.exp(BIAS_SD * smooth_noise(grid, 75, rng))
        scale, sigma = rng.uniform(*SCALE), rng.uniform(*NOISE)
        real, imaginary = (sigma * rng.standard_normal(grid.shape, dtype=np.float32) for _ in range(2))
        signal = scale * np.hypot(image + real, imaginary)
        images[modality] = (np.clip(np.rint(signal), 1, 32767) * anatomy.brain).astype(np.int16)
    return images


def _mix(image: np.ndarray, lesion: Lesion, values: tuple[float, ...], contrast: np.ndarray) -> np.ndarray:
    """Puts the lesion in: oedema shifts what is there, rim and core replace it."""
    oedema, rim, core = (1 + (v - 1) * contrast for v in values)
    image = image + lesion.oedema * (oedema - image) * 0.85
    image = image + lesion.rim * (rim - image)
    return image + lesion.core * (core - image)


def _white_matter_spots(anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """Bright white matter without a tumour: caps and bands along the ventricles, and scattered spots."""
    grid = anatomy.grid
    burden = np.clip(rng.lognormal(0, 0.6), 0.3, 2.5)
    width = np.clip(2.5 * burden * (1 + 0.5 * smooth_noise(grid, 20, rng)), 0.5, 10)
    band = np.exp(-((np.maximum(anatomy.ventricle_mm - 1, 0) / width) ** 2)) * (anatomy.ventricle_mm > 0)
    scattered = np.clip((smooth_noise(grid, 6, rng) - 2.3 + 0.35 * burden) / 0.4, 0, 1)
    return np.maximum(band * np.minimum(1, 0.55 + 0.25 * burden), scattered) * anatomy.wm


def _vessels(anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """Vessels, the longitudinal sinus and the choroid plexus, which enhance as a tumour's rim does."""
    grid = anatomy.grid
    lines = np.exp(-((smooth_noise(grid, 12, rng) / 0.18) ** 2)) * anatomy.csf
    x, _, z = grid.axes_mm()
    sinus = np.exp(-((x / 2.5) ** 2)) * (anatomy.depth_mm < 7) * (z > 0)
    plexus = (anatomy.ventricle_mm < 1) * (smooth_noise(grid, 5, rng) > 1.5)
    share = np.maximum(np.maximum(lines, sinus * (1 - anatomy.wm)), plexus) * anatomy.brain
    return ndimage.gaussian_filter(share.astype(np.float32), 0.5 / grid.spacing_mm)
