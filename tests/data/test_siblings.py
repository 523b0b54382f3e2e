"""One file of a case leads to the others by its name."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.data import entry_of_path

MODALITIES = ["t1", "t1c", "t2", "flair"]


def make(folder: Path, *names: str, shape: tuple[int, ...] = (2, 2, 2)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        nib.save(nib.Nifti1Image(np.zeros(shape, np.int16), np.eye(4)), folder / name)
    return folder / names[0]


@pytest.mark.parametrize(
    ("names", "case"),
    [
        (("017_t1.nii.gz", "017_t1ce.nii.gz", "017_t2.nii.gz", "017_flair.nii.gz"), "017"),
        (
            (
                "BraTS-GLI-0-1-t1n.nii.gz",
                "BraTS-GLI-0-1-t1c.nii.gz",
                "BraTS-GLI-0-1-t2w.nii.gz",
                "BraTS-GLI-0-1-t2f.nii.gz",
            ),
            "BraTS-GLI-0-1",
        ),
        (("t1_017.nii.gz", "t1c_017.nii.gz", "t2_017.nii.gz", "flair_017.nii.gz"), "017"),
        (("T1.nii.gz", "T1c.nii", "T2.nii.gz", "FLAIR.nii.gz"), "patient"),
    ],
)
def test_the_others_lie_beside_it_with_the_same_name_but_for_the_modality(names, case, tmp_path):
    folder = tmp_path / "patient"
    make(folder, *names)
    make(folder, "018_t1.nii.gz", "017_seg.nii.gz")  # another case, and no modality
    expected = {m: str(folder / name) for m, name in zip(MODALITIES, names, strict=True)}
    for name in names:
        assert entry_of_path(folder / name, MODALITIES) == {"image": expected, "case": case}


def test_a_modality_that_is_not_there_is_left_out(tmp_path):
    path = make(tmp_path, "017_t1.nii.gz", "017_t2.nii.gz")
    assert list(entry_of_path(path, MODALITIES)["image"]) == ["t1", "t2"]


def test_a_network_of_one_modality_finds_its_own_from_another(tmp_path):
    path = make(tmp_path, "017_t1.nii.gz", "017_flair.nii.gz")
    assert entry_of_path(path, ["flair"])["image"] == {"flair": str(tmp_path / "017_flair.nii.gz")}


def test_a_file_with_channels_is_a_case_by_itself_whatever_its_name(tmp_path):
    path = make(tmp_path, "017_t1.nii.gz", shape=(2, 2, 2, 4))
    assert entry_of_path(path, MODALITIES) == {"image": str(path), "case": "017_t1"}


def test_folders_of_dicom_series_lie_beside_each_other_too(tmp_path):
    for name in ("017_t1", "017_flair"):
        (tmp_path / name).mkdir()
    make(tmp_path, "017_t2.nii.gz")  # no folder
    found = entry_of_path(tmp_path / "017_t1", MODALITIES)
    assert found == {
        "image": {"t1": str(tmp_path / "017_t1"), "flair": str(tmp_path / "017_flair")},
        "case": "017",
    }


def test_two_files_for_one_modality_are_refused(tmp_path):
    path = make(tmp_path, "017_t1.nii.gz", "017_t1c.nii.gz", "017_t1ce.nii.gz")
    with pytest.raises(ValueError, match=r"case 017: modality t1c should be one file .* move one away"):
        entry_of_path(path, MODALITIES)


@pytest.mark.parametrize("path", ["", "nowhere.nii.gz"])
def test_a_path_that_leads_nowhere_is_an_error(path):
    with pytest.raises(FileNotFoundError, match=f"image '{path}' does not exist; check the path"):
        entry_of_path(path, MODALITIES)
