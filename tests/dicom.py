"""A DICOM series as scanners write it, made of an array."""

from __future__ import annotations

from pathlib import Path

import itk
import numpy as np


def save_dicom(
    folder: Path, values: np.ndarray, affine: np.ndarray, series: str = "1.2.3.4", digits: int = 6
) -> None:
    """One file a slice, named so that the alphabet is not the order of positions."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / spacing
    names = [f"{name}.dcm" for name in "kcpaxbgh"]
    for index in range(values.shape[2]):
        image = itk.image_from_array(np.ascontiguousarray(values[:, :, index].T)[None].astype(np.int16))
        origin = lps[:3] @ [0, 0, index, 1]
        image.SetSpacing([float(v) for v in spacing])
        image.SetOrigin([float(v) for v in origin])
        image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(direction)))
        tags = image.GetMetaDataDictionary()
        tags["0008|0060"] = "MR"
        tags["0008|0021"] = "20110707"
        tags["0020|000d"] = "1.2.3"
        tags["0020|000e"] = series
        tags["0020|0013"] = str(values.shape[2] - index)  # instance numbers run against positions
        tags["0020|0032"] = "\\".join(f"{v:.{digits}f}" for v in origin)
        tags["0020|0037"] = "\\".join(f"{v:.6f}" for v in direction[:, :2].T.ravel())
        tags["0018|0050"] = f"{spacing[2]:.6f}"
        dicom = itk.GDCMImageIO.New()
        dicom.SetKeepOriginalUID(True)
        writer = itk.ImageFileWriter.New(image)
        writer.SetImageIO(dicom)
        writer.SetFileName(str(folder / names[index]))
        writer.Update()
