"""A case's files as checked arrays on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bundle.data.grids import Grid, difference, resample, takes_header
from bundle.data.masks import read_foreground, read_mask
from bundle.data.records import CaseRecord, ImageSource
from bundle.data.scans import Scan, read_scan, read_scan_3d

__all__ = ["CaseVolumes", "check_modalities_present", "read_case", "read_mask"]


@dataclass(frozen=True, eq=False)
class CaseVolumes:
    """One case on the grid of its reference scan, axes as stored there.

    Args:
        case: case id.
        image: (K, X, Y, Z), raw intensities; int16 if every file holds integers that fit and nothing was
            resampled, else float32. In memory the slices are contiguous (Z, Y, X order within a modality).
        affine: 4x4, voxel index to RAS position in mm.
        mask: (X, Y, Z) uint8, 1 where the file is above 0; ``None`` if the case has none.
        foreground: (X, Y, Z) bool; ``None`` if no file gives it.
        modalities: names along K.
    """

    case: str
    image: np.ndarray
    affine: np.ndarray
    mask: np.ndarray | None = None
    foreground: np.ndarray | None = None
    modalities: tuple[str, ...] = ()


def read_case(
    record: CaseRecord,
    modalities: Sequence[str] | None = None,
    reference: str | None = None,
    affines_from_reference: bool = False,
) -> CaseVolumes:
    """Read a case, check its voxels and bring everything onto one grid.

    Args:
        record: where the files lie.
        modalities: which ones, in which order; by default those of the record.
        reference: modality whose grid the case is brought onto: images by linear interpolation, mask and
            foreground by nearest neighbour. It must be in the record, but need not be among ``modalities``.
            Without it every file must lie on the grid of the first modality.
        affines_from_reference: a file that has the reference's shape but another position in its header takes
            the reference's header. For data sets whose voxels coincide though their headers do not.

    Raises:
        FileNotFoundError: a modality or the foreground is missing.
        ValueError: unknown reference, damaged file, wrong number of channels, NaN or infinite voxels, a
            constant image, fractional mask, or grids that disagree.
    """
    names = list(modalities or record.images)
    if reference is not None and reference not in record.images:
        raise ValueError(
            f"case {record.case}: reference {reference} should be a modality of the case (it has "
            f"{', '.join(record.images)}); name another `--reference`, or add {reference} to `modalities`"
        )
    check_modalities_present(record, [*names, *([reference] if reference else [])])
    scans: dict[Path, Scan] = {}  # a 4D file is decoded once
    grid = _volume(record, reference or names[0], scans)[1]
    arrays, grids, resampled = [], [grid], False
    for name in names:
        array, own = _volume(record, name, scans)
        _check_voxels(array, f"case {record.case}: modality {name}", record.images[name].path)
        grids.append(own)
        if not takes_header(own, grid, affines_from_reference):
            if reference is None:
                raise ValueError(_disagreement(record.case, f"modality {name}", own, names[0], grid))
            array, resampled = resample(array, own, grid, "bilinear"), True
            if array.min() == array.max():
                raise ValueError(
                    f"case {record.case}: modality {name} must overlap the reference {reference} "
                    f"({name}: {own}; {reference}: {grid}); check both headers"
                )
        arrays.append(array)
    scans.clear()
    image = _stack(arrays, keep_integers=not resampled)
    others = grids if reference else []
    mask = foreground = None
    if record.mask is not None:
        mask = read_mask(record.mask, record.case, grid, others, affines_from_reference)[0]
    if record.foreground is not None:
        foreground = read_foreground(record.foreground, record.case, grid, others, affines_from_reference)
    return CaseVolumes(record.case, image, grid.affine, mask, foreground, tuple(names))


def check_modalities_present(record: CaseRecord, modalities: Sequence[str]) -> None:
    """Raise `FileNotFoundError` for the first modality that has no file. Nothing is read.

    A reader notes a modality that it did not find as an `ImageSource` whose path, perhaps a pattern, does not
    exist: this is what it looked for.
    """
    for name in modalities:
        if not has_file(record, name):
            raise FileNotFoundError(
                f"case {record.case}: modality {name} is missing ({looked_for(record, name)}); "
                f"add the file or drop {name} from `modalities` (when preparing, --on_error skip leaves the case out)"
            )


def has_file(record: CaseRecord, name: str) -> bool:
    """Whether the file that a modality should be in is there."""
    return name in record.images and record.images[name].path.exists()


def looked_for(record: CaseRecord, name: str) -> str:
    """Where a missing modality was sought, in words."""
    if name not in record.images:
        return f"the case has {', '.join(record.images) or 'none'}"
    path = record.images[name].path
    return f"looked for {path.name} in {path.parent}"


def _volume(record: CaseRecord, name: str, scans: dict[Path, Scan]) -> tuple[np.ndarray, Grid]:
    """One modality's voxels (X, Y, Z) and grid; a view into the file's array."""
    source: ImageSource = record.images[name]
    if source.channel is None:
        if source.path not in scans:
            scans[source.path] = read_scan_3d(source.path, record.case, f"modality {name}")
        return scans[source.path].array, scans[source.path].grid
    if source.path not in scans:
        scans[source.path] = read_scan(source.path, record.case)
    scan = scans[source.path]
    channels = scan.array.shape[3] if scan.array.ndim == 4 else 1
    if channels != source.channels:
        raise ValueError(
            f"case {record.case}: {scan.path} should hold {source.channels} channels, one a modality "
            f"(found {channels}); give the file with all of them, or change `modalities`"
        )
    array = scan.array[..., source.channel] if scan.array.ndim == 4 else scan.array
    return array, scan.grid


def _check_voxels(array: np.ndarray, subject: str, path: Path) -> None:
    low, high = array.min(), array.max()
    if array.dtype.kind == "f" and not (np.isfinite(low) and np.isfinite(high)):
        bad = ~np.isfinite(array)
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{subject} must hold finite voxels ({int(bad.sum())} are NaN or infinite in {path}, "
            f"the first at {first}); repair the file or leave the case out"
        )
    if low == high:
        raise ValueError(
            f"{subject} shows nothing: every voxel of {path} is {float(low):g}; "
            "replace the file or leave the case out"
        )


def _disagreement(case: str, subject: str, own: Grid, first: str, grid: Grid) -> str:
    remedy = f"name the modality to resample onto, such as `--reference {first}`"
    if own.shape == grid.shape and not own.same_voxels(grid):
        remedy += ", or use `--affines_from_reference` if the voxels coincide and only the header is wrong"
    return f"case {case}: {subject} should lie on the grid of {first} ({difference(own, grid)}); {remedy}"


def _stack(arrays: list[np.ndarray], keep_integers: bool) -> np.ndarray:
    """(K, X, Y, Z) with contiguous slices; empties the list as it goes, to hold little more than one copy."""
    limits = np.iinfo(np.int16)
    integers = keep_integers and all(
        a.dtype.kind in "biu" and int(a.min()) >= limits.min and int(a.max()) <= limits.max for a in arrays
    )
    x, y, z = arrays[0].shape
    image = np.empty((len(arrays), z, y, x), dtype=np.int16 if integers else np.float32).transpose(0, 3, 2, 1)
    for k in range(len(arrays)):
        image[k] = arrays[k]
        arrays[k] = image[k]
    return image
