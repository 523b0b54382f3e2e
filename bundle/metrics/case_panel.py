"""What a picture of one case needs: one slice, upright, cut to the body part and small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from nibabel.orientations import io_orientation
from torch.nn.functional import interpolate

MAX_PIXELS = 256  # longer side of a panel; on a sheet of twelve columns more could not be seen
_SIDES = ("R", "A", "S")  # what lies where an axis begins that runs towards left, posterior, inferior


@dataclass(frozen=True)
class CasePanel:
    """One slice of one case. It holds less than a megabyte whatever the size of the scan.

    Args:
        case: case id.
        slice_index: index along the third axis as stored, counted from 0.
        names: name of each map, ``fused`` last.
        images: grey values 0 to 255 under each map (maps, h, w), uint8.
        cams: maps 0 to 255 (maps, h, w), uint8.
        masks: predicted masks (maps, h, w), bool.
        truth: true mask (h, w), bool; ``None`` if the case has none.
        size_mm: height and width of the slice.
        left: the patient's side at the picture's left (``R``, or ``A`` on a sagittal slice); blank if the
            affine is not known.
    """

    case: str
    slice_index: int
    names: tuple[str, ...]
    images: np.ndarray
    cams: np.ndarray
    masks: np.ndarray
    truth: np.ndarray | None
    size_mm: tuple[float, float]
    left: str


def make_panel(
    case: str,
    cams: np.ndarray,
    masks: np.ndarray,
    images: np.ndarray,
    truth: np.ndarray | None,
    *,
    names: Sequence[str],
    spacing_mm: Sequence[float],
    affine: np.ndarray | None = None,
) -> CasePanel:
    """Take the slice that shows most truth (without truth: most fused mask, then most fused evidence).

    Args:
        case: case id.
        cams: maps (N + 1, X, Y, Z) in [0, 1], the fused one last.
        masks: what was made of each map, (N + 1, X, Y, Z), positive where above 0.
        images: modalities (K, X, Y, Z). Map i of K branches lies over image i; the fused maps, and any map
            of several modalities, lie over the first.
        truth: true mask (X, Y, Z), or ``None``.
        names: name of each map.
        spacing_mm: distance of neighbouring voxels along each axis.
        affine: voxel to RAS mm of the scan, to bring the slice upright; ``None`` takes the axes as they run
            in RAS.

    Raises:
        ValueError: if the images lie on another grid than the maps.
    """
    if images.ndim != 4 or images.shape[1:] != cams.shape[1:]:
        raise ValueError(
            f"case {case}: images must be (K, X, Y, Z) on the maps' grid {cams.shape[1:]}, "
            f"found {images.shape}; pass the scan as it was read"
        )
    index = _choose_slice(cams[-1], masks[-1], truth)
    row_mm, column_mm = _upright_spacing(spacing_mm, affine)
    grey = upright_slice(np.asarray(images[..., index], dtype=np.float32), affine)
    maps = upright_slice(np.asarray(cams[..., index], dtype=np.float32), affine)
    found = upright_slice(np.asarray(masks[..., index]) > 0, affine)
    shown = None if truth is None else upright_slice(np.asarray(truth[..., index]) > 0, affine)
    box = _body_box(grey, found[-1], shown)
    grey, maps, found = (planes[:, box[0], box[1]] for planes in (grey, maps, found))
    height, width = grey.shape[1:]
    scale = min(1.0, MAX_PIXELS / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    shades = np.stack([_to_grey(image) for image in grey])
    one_each = len(names) > len(shades)  # the branches' maps come first, then what was fused from them
    under = [shades[i if one_each and i < len(shades) else 0] for i in range(len(names))]
    return CasePanel(
        case=case,
        slice_index=index,
        names=tuple(names),
        images=_to_bytes(_resize(np.stack(under), size)),
        cams=_to_bytes(_resize(maps, size)),
        masks=_resize(found, size),
        truth=None if shown is None else _resize(shown[None, box[0], box[1]], size)[0],
        size_mm=(height * row_mm, width * column_mm),
        left="" if affine is None else _SIDES[int(_directions(affine)[:2, 0].min())],
    )


def upright_slice(planes: np.ndarray, affine: np.ndarray | None) -> np.ndarray:
    """Turn slices as stored (…, X, Y) into rows and columns as a reader of scans expects them.

    Columns run towards the earlier of left, posterior and inferior, rows towards the later one: an axial
    slice shows the nose on top and the patient's right on the left. Only flips and a transposition, so no
    value changes.

    Args:
        planes: slices along the third axis of a volume.
        affine: voxel to RAS mm of the volume; ``None`` stands for axes that run in RAS.

    Returns:
        A view (…, rows, columns).
    """
    directions = _directions(affine)
    flips = [slice(None, None, -1) if directions[axis, 1] > 0 else slice(None) for axis in (0, 1)]
    turned = planes[..., flips[0], flips[1]]
    return turned if directions[0, 0] > directions[1, 0] else turned.swapaxes(-1, -2)


def _directions(affine: np.ndarray | None) -> np.ndarray:
    """Return each stored axis's world axis (0 R/L, 1 A/P, 2 S/I) and +1 if it runs towards R, A or S."""
    return io_orientation(np.eye(4) if affine is None else np.asarray(affine, dtype=np.float64))


def _upright_spacing(spacing_mm: Sequence[float], affine: np.ndarray | None) -> tuple[float, float]:
    directions = _directions(affine)
    x, y = float(spacing_mm[0]), float(spacing_mm[1])
    return (x, y) if directions[0, 0] > directions[1, 0] else (y, x)


def _choose_slice(fused: np.ndarray, mask: np.ndarray, truth: np.ndarray | None) -> int:
    for volume in (None if truth is None else truth > 0, mask > 0, fused):
        if volume is not None and volume.any():
            return int(np.argmax(volume.sum(axis=(0, 1))))
    return fused.shape[-1] // 2


def _body_box(grey: np.ndarray, mask: np.ndarray, truth: np.ndarray | None) -> tuple[slice, slice]:
    """Return the box around the body part in any image, and around both masks."""
    body = np.any([_find_body(image) for image in grey], axis=0) | mask
    if truth is not None:
        body = body | truth
    box = []
    for axis in (0, 1):
        inside = np.flatnonzero(body.any(axis=1 - axis))
        if not inside.size:
            box.append(slice(None))
            continue
        margin = 2 + body.shape[axis] // 50
        box.append(slice(max(0, int(inside[0]) - margin), int(inside[-1]) + 1 + margin))
    return box[0], box[1]


def _to_grey(image: np.ndarray) -> np.ndarray:
    """Window an image to [0, 1] between the 1st and the 99.5th percentile of what is not background."""
    body = _find_body(image)
    if not body.any():
        return np.zeros_like(image)
    low, high = np.percentile(image[body], [1.0, 99.5])
    # A little above black, so that dark tissue stands out from the background.
    scaled = 0.06 + 0.94 * (image - low) / max(float(high - low), 1e-12)
    return np.where(body, np.clip(scaled, 0.0, 1.0), 0.0)


def _find_body(image: np.ndarray) -> np.ndarray:
    """Return what is brighter than the background: the commonest value, if it fills a tenth of the slice.

    Resampling leaves values a little below a background of 0, so the darkest value alone would not do.
    """
    values, counts = np.unique(image, return_counts=True)
    common = int(counts.argmax())
    return image > values[common] if counts[common] > 0.1 * image.size else np.ones(image.shape, dtype=bool)


def _resize(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Shrink (n, h, w): images with antialias, masks by the nearest pixel."""
    if planes.shape[1:] == size:
        return np.ascontiguousarray(planes)
    values = torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32))[None]
    if planes.dtype == bool:
        return interpolate(values, size=size, mode="nearest-exact")[0].numpy() > 0.5
    return interpolate(values, size=size, mode="bilinear", antialias=True)[0].numpy()


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.round(np.clip(values, 0.0, 1.0) * 255).astype(np.uint8)
