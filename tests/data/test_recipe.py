"""The recipe of a prepared case: it changes with all that its slices depend on."""

from __future__ import annotations

import os
from pathlib import Path

import itk
import numpy as np
import pytest

from bundle.data.recipe import data_files, image_recipe
from bundle.data.records import CaseRecord, ImageSource

VALUES = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def recipe(path: Path, **options) -> str:
    return image_recipe(CaseRecord("017", {"t2": ImageSource(path)}), ["t2"], 16, **options)


@pytest.mark.parametrize("ending", ["mhd", "nhdr"])
def test_new_voxels_behind_an_unchanged_header_are_noticed(tmp_path, ending):
    path = tmp_path / f"t2.{ending}"
    itk.imwrite(itk.image_from_array(VALUES), str(path))
    (voxels,) = [file for file in tmp_path.iterdir() if file != path]
    before = recipe(path)
    assert recipe(path) == before
    os.utime(voxels, ns=(1, 1))
    assert recipe(path) != before


@pytest.mark.parametrize("ending", ["mha", "nrrd", "nii.gz"])
def test_a_file_that_holds_its_voxels_names_no_other(tmp_path, ending):
    path = tmp_path / f"t2.{ending}"
    itk.imwrite(itk.image_from_array(VALUES), str(path))
    assert data_files(path) == []


@pytest.mark.parametrize(
    "text",
    [
        "ElementDataFile = LIST\na.raw\nb.raw\n",
        "data file: LIST\na.raw\nb.raw\n",
        "data file: %d.raw 1 2 1\n",
    ],
)
def test_lists_and_patterns_of_data_files_are_followed(tmp_path, text):
    for name in ("a.raw", "b.raw"):
        (tmp_path / name).write_bytes(b"0")
    (tmp_path / "t2.mhd").write_text("ObjectType = Image\n" + text)
    assert [file.name for file in data_files(tmp_path / "t2.mhd")] == ["a.raw", "b.raw"]
