"""One image file or DICOM series as an array with its grid, whatever the format."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import itk
import numpy as np
from monai.data import ITKReader, NibabelReader
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from bundle.data.grids import Grid

# What nibabel, gzip and ITK raise for a file that ends early or is no image. RuntimeError is ITK's.
_DAMAGE = (EOFError, OSError, zlib.error, ValueError, RuntimeError, ImageFileError, HeaderDataError)
NIFTI_SUFFIXES = (".nii", ".nii.gz")
SCAN_SUFFIXES = (*NIFTI_SUFFIXES, ".mha", ".mhd", ".nrrd", ".nhdr")
# Of the mean slice distance: rounded positions stay far below it, a gap or a duplicate is about 1.
UNEVEN_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class Scan:
    """Voxels as stored, (X, Y, Z) or with channels (X, Y, Z, C), and the grid of the first three axes."""

    path: Path
    array: np.ndarray
    grid: Grid


def read_scan(path: Path, case: str) -> Scan:
    """Read .nii, .nii.gz, .mha, .nrrd, any other file ITK knows, or a folder that holds one DICOM series.

    NIfTI goes through MONAI's `NibabelReader`, all else through its `ITKReader`, which turns positions from
    LPS to RAS and sorts a DICOM series by position. Nothing is flipped or permuted. Floating-point
    voxels and scaled integers (`scl_slope`) come as float32.

    Args:
        path: file or folder.
        case: case id, for errors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: truncated or damaged; not a 3D image of numbers; a folder without exactly one DICOM
            series or with a gap in it; a header without a valid voxel size.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"case {case}: file {path} does not exist; check the path")
    try:
        array, affine = _read_dicom(path, case) if path.is_dir() else _read_file(path)
    except _ScanError as error:
        raise ValueError(str(error)) from None
    except _DAMAGE as error:
        # ITK adds a last line with errno, which is of another call.
        lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("Reason:")]
        reason = (lines or [type(error).__name__])[-1].strip()
        raise ValueError(
            f"case {case}: file {path} is truncated or damaged, or no image ({reason}); "
            "fetch it again or leave the case out"
        ) from error
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 5 and array.shape[3] == 1:  # NIfTI vectors keep the fourth axis for time
        array = array[..., 0, :]
    if array.ndim not in (3, 4) or array.dtype.kind not in "biuf":
        shape = "x".join(map(str, array.shape))
        raise ValueError(
            f"case {case}: {path.name} is not a 3D image of numbers, or 4D with channels last "
            f"(found {shape}, {array.dtype}); convert it"
        )
    if array.dtype.kind == "f" and array.dtype != np.float32:
        array = array.astype(np.float32)
    affine = np.asarray(affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ValueError(
            f"case {case}: the header of {path.name} gives no valid voxel size and orientation "
            f"(affine {affine[:3].round(3).tolist()}); repair the header"
        )
    return Scan(path, array, Grid((array.shape[0], array.shape[1], array.shape[2]), affine))


def read_scan_3d(path: Path, case: str, role: str) -> Scan:
    """`read_scan` for a file that must be 3D; ``role`` (``mask``, say) names it in errors."""
    scan = read_scan(path, case)
    if scan.array.ndim != 3:
        raise ValueError(
            f"case {case}: {role} should be a 3D file ({scan.path} has {scan.array.shape[3]} channels); "
            "split the file, or use a source that reads 4D files"
        )
    return scan


def scan_stem(path: Path) -> str:
    """File name without its format's ending.

    >>> scan_stem(Path("a/BRATS_001.nii.gz"))
    'BRATS_001'
    """
    return re.sub(r"\.nii\.gz$|\.[^.]+$", "", path.name, flags=re.IGNORECASE)


def existing_folder(path: str | Path) -> Path:
    """The path, if it is a folder; else `FileNotFoundError`."""
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {folder} does not exist; check the input folder")
    return folder


class _ScanError(Exception):
    """An error that already says what is wrong."""


def _read_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    nifti = path.name.lower().endswith(NIFTI_SUFFIXES)
    reader = NibabelReader() if nifti else ITKReader()
    array, meta = reader.get_data(reader.read(path))
    affine = np.eye(4)
    header = np.asarray(meta["affine"])
    rank = len(header) - 1
    affine[:rank, :rank], affine[:rank, 3] = header[:rank, :rank], header[:rank, rank]
    return np.asarray(array), affine


def _read_dicom(path: Path, case: str) -> tuple[np.ndarray, np.ndarray]:
    names = itk.GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)
    names.AddSeriesRestriction("0008|0021")  # as ITKReader does, so that both count the same series
    names.SetDirectory(str(path))
    series = list(names.GetSeriesUIDs())
    if len(series) != 1:
        found = "none" if not series else f"{len(series)}: {', '.join(series)}"
        raise _ScanError(
            f"case {case}: folder {path} must hold exactly one DICOM series (found {found}); "
            "put each series in a folder of its own"
        )
    _check_distances(names.GetFileNames(series[0]), path, case)
    reader = ITKReader(series_name=series[0])
    array, header = reader.get_data(reader.read(path))
    return np.asarray(array), header["affine"]


def _check_distances(files: Sequence[str], path: Path, case: str) -> None:
    """Refuse a gap or a duplicate. ITK's own figure calls rounded positions uneven and passes over some
    duplicates, whose files it orders by name."""
    origins, normal = [], np.zeros(3)
    for file in files:
        header = itk.GDCMImageIO.New()
        header.SetFileName(file)
        header.ReadImageInformation()
        origins.append([header.GetOrigin(axis) for axis in range(3)])
        normal = np.asarray(header.GetDirection(2))
    steps = np.diff(np.sort(np.asarray(origins) @ normal))
    if not len(steps):
        return
    deviation, distance = np.abs(steps - steps.mean()).max(), steps.mean()
    if deviation > UNEVEN_SHARE * distance or distance == 0:
        raise _ScanError(
            f"case {case}: the DICOM slices in {path} should be evenly spaced (they are {steps.min():.3g} to "
            f"{steps.max():.3g} mm apart: a slice is missing, or is there twice); complete the series"
        )
