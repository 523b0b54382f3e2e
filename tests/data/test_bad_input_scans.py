"""Scans and folders that cannot be used: each error names case, expectation, finding and remedy."""

from __future__ import annotations

import json
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest

from bundle.data.readers import find_brats, find_cases, find_decathlon, find_folder
from bundle.data.records import CaseRecord, ImageSource
from bundle.data.volumes import read_case, read_mask

SHAPE = (6, 5, 4)
SHIFTED = np.array([[1.0, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def _values(shape=SHAPE, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 900, shape).astype(dtype)


def _save(path: Path, values: np.ndarray | None = None, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = _values() if values is None else values
    nib.save(nib.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def _record(tmp_path: Path, mask: Path | None = None, foreground: Path | None = None, **images: Path):
    """A case with a good T1 and what is given."""
    sources = {n: ImageSource(p) for n, p in {"t1": _save(tmp_path / "t1.nii.gz"), **images}.items()}
    return CaseRecord("017", sources, mask, foreground)


# A modality is missing


def test_brats_names_the_file_it_looked_for(tmp_path):
    for case, parts in {"016": "t1 t2", "017": "t1"}.items():
        for part in parts.split():
            _save(tmp_path / case / f"{case}_{part}.nii.gz")
    complete, lacking = find_brats(tmp_path, ["t1", "t2"])
    read_case(complete)  # the other cases can be prepared
    expected = (
        rf"case 017: modality t2 is missing \(looked for 017_t2\.nii\.gz in {tmp_path}/017\); "
        "add the file or drop t2 from `modalities`"
    )
    with pytest.raises(FileNotFoundError, match=expected):
        read_case(lacking)


def test_patterns_name_what_they_looked_for(tmp_path):
    for name in ("a/016_t1.nii", "a/016_t2.nii", "a/017_t1.nii"):
        _save(tmp_path / name)
    record = find_folder(tmp_path, {"t1": "*/{case}_t1.nii", "t2": "*/{case}_t2.nii"})[1]
    with pytest.raises(
        FileNotFoundError, match=r"case 017: modality t2 is missing \(looked for 017_t2.nii in "
    ):
        read_case(record)


def test_a_modality_that_the_record_does_not_know_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"case 017: modality t2 is missing \(the case has t1\)"):
        read_case(_record(tmp_path), ["t1", "t2"])


def test_a_reference_that_the_case_does_not_have_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"case 017: reference t2 should be .* \(it has t1\); name another"):
        read_case(_record(tmp_path), ["t1"], reference="t2")


def test_a_foreground_that_only_this_case_lacks_is_named(tmp_path):
    for name in ("016_t1.nii", "016_brain.nii", "017_t1.nii"):
        _save(tmp_path / name)
    record = find_folder(tmp_path, {"t1": "{case}_t1.nii", "foreground": "{case}_brain.nii"})[1]
    with pytest.raises(FileNotFoundError, match=r"case 017: the foreground is missing .*017_brain\.nii"):
        read_case(record)


def test_a_mask_that_vanished_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"case 017: file .*none\.nii does not exist"):
        read_case(_record(tmp_path, mask=tmp_path / "none.nii"))


# Voxels


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_not_finite_are_counted(tmp_path, value):
    values = _values()
    values[1, 2, 3] = values[4, 4, 3] = value
    record = _record(tmp_path, t2=_save(tmp_path / "t2.nii", values))
    expected = r"case 017: modality t2 must hold finite voxels \(2 are NaN .*t2\.nii, the first at \(1, 2, 3"
    with pytest.raises(ValueError, match=expected):
        read_case(record)


def test_a_constant_image_shows_nothing(tmp_path):
    record = _record(tmp_path, t2=_save(tmp_path / "t2.nii", np.full(SHAPE, 7, np.int16)))
    with pytest.raises(ValueError, match=r"case 017: modality t2 shows nothing: every voxel of .* is 7"):
        read_case(record)


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.02, 0])
def test_a_truncated_nifti_is_named(tmp_path, kept):
    path = _save(tmp_path / "t2.nii.gz", _values((30, 30, 30)))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ValueError, match=r"case 017: file .*t2\.nii\.gz is truncated or damaged"):
        read_case(_record(tmp_path, t2=path))


def test_a_file_that_is_no_image_is_named(tmp_path):
    path = tmp_path / "t2.nii.gz"
    path.write_text("<html>404 not found</html>")  # what a failed download leaves
    with pytest.raises(ValueError, match=r"case 017: file .*t2\.nii\.gz is truncated or damaged"):
        read_case(_record(tmp_path, t2=path))


@pytest.mark.parametrize("ending", ["nii", "mha", "nrrd"])
def test_other_truncated_files_are_named(tmp_path, ending):
    path = tmp_path / f"t2.{ending}"
    if ending == "nii":
        _save(path)
    else:
        itk.imwrite(itk.image_from_array(_values()), str(path))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"case 017: file .*t2\.{ending} is truncated or damaged"):
        read_case(_record(tmp_path, t2=path))


def test_a_header_without_voxel_size_is_named(tmp_path):
    path = _save(tmp_path / "t2.nii", affine=np.diag([1.0, 1, 1e-12, 1]))
    with pytest.raises(ValueError, match=r"case 017: the header of t2\.nii gives no valid voxel size"):
        read_case(_record(tmp_path, t2=path))


def test_a_flat_image_is_no_scan(tmp_path):
    path = _save(tmp_path / "t2.nii", _values((6, 5)))
    with pytest.raises(ValueError, match=r"case 017: t2\.nii is not a 3D image of numbers.*found 6x5"):
        read_case(_record(tmp_path, t2=path))


# Channels


@pytest.mark.parametrize("channels", [2, 4])
def test_a_4d_file_with_the_wrong_number_of_channels_is_named(tmp_path, channels):
    path = _save(tmp_path / "4d.nii.gz", _values((*SHAPE, channels)))
    record = CaseRecord("017", {"t1": ImageSource(path, 0, 3), "t2": ImageSource(path, 1, 3)})
    expected = rf"case 017: .*4d\.nii\.gz should hold 3 channels, one a modality \(found {channels}\)"
    with pytest.raises(ValueError, match=expected):
        read_case(record)


def test_a_3d_file_where_a_4d_one_is_due_is_named(tmp_path):
    record = CaseRecord("017", {"t1": ImageSource(_save(tmp_path / "a.nii"), 0, 2)})
    with pytest.raises(ValueError, match=r"should hold 2 channels, one a modality \(found 1\)"):
        read_case(record)


def test_a_4d_file_where_a_3d_one_is_due_is_named(tmp_path):
    path = _save(tmp_path / "t2.nii", _values((*SHAPE, 3)))
    with pytest.raises(ValueError, match=r"case 017: modality t2 should be a 3D file \(.* has 3 channels\)"):
        read_case(_record(tmp_path, t2=path))
    with pytest.raises(ValueError, match="case 017: mask should be a 3D file"):
        read_case(_record(tmp_path, mask=path))


def test_a_last_axis_of_one_is_no_channel(tmp_path):
    path = _save(tmp_path / "t2.nii", _values((*SHAPE, 1)))
    assert read_case(_record(tmp_path, t2=path)).image.shape == (2, *SHAPE)


# Grids


def test_other_shapes_are_an_error_that_names_reference(tmp_path):
    record = _record(tmp_path, t2=_save(tmp_path / "t2.nii", _values((3, 5, 4))))
    expected = (
        r"case 017: modality t2 should lie on the grid of t1 \(its grid: 3x5x4 .*: 6x5x4 .*`--reference t1`"
    )
    with pytest.raises(ValueError, match=expected) as error:
        read_case(record)
    assert "affines_from_reference" not in str(error.value)  # it would not help


def test_other_affines_are_an_error_that_says_how_far_apart(tmp_path):
    record = _record(tmp_path, t2=_save(tmp_path / "t2.nii", affine=SHIFTED))
    with pytest.raises(
        ValueError, match=r"up to 3 mm apart.*`--reference t1`, or use `--affines_from_reference`"
    ):
        read_case(record)


def test_taking_headers_from_the_reference_does_not_help_other_shapes(tmp_path):
    record = _record(tmp_path, t2=_save(tmp_path / "t2.nii", _values((3, 5, 4))))
    with pytest.raises(ValueError, match="modality t2 should lie on the grid of t1"):
        read_case(record, affines_from_reference=True)


def test_a_modality_elsewhere_in_space_does_not_overlap(tmp_path):
    record = _record(tmp_path, t2=_save(tmp_path / "t2.nii", affine=SHIFTED * [1, 1, 1, 100]))
    with pytest.raises(ValueError, match="case 017: modality t2 must overlap the reference t1"):
        read_case(record, reference="t1")


# Masks


def test_a_fractional_mask_is_named(tmp_path):
    mask = np.zeros(SHAPE, np.float32)
    mask[1, 1, 1] = 0.4
    record = _record(tmp_path, mask=_save(tmp_path / "m.nii", mask))
    with pytest.raises(
        ValueError, match=r"case 017: mask .* whole numbers \(1 voxels do not, such as 0\.4\)"
    ):
        read_case(record)


def test_a_mask_with_nan_is_named(tmp_path):
    mask = np.zeros(SHAPE, np.float32)
    mask[1, 1, 1] = np.nan
    with pytest.raises(ValueError, match=r"case 017: mask .* holds NaN"):
        read_mask(_save(tmp_path / "m.nii", mask), "017")


def test_a_mask_on_another_grid_is_named_even_with_a_reference(tmp_path):
    record = _record(tmp_path, mask=_save(tmp_path / "m.nii", np.ones((3, 3, 3), np.uint8)))
    with pytest.raises(
        ValueError, match=r"mask should lie on the grid of the scan .*3x3x3 .*name the `--reference`"
    ):
        read_case(record)
    with pytest.raises(
        ValueError, match=r"mask should lie on the grid of the scan .*draw it on the reference"
    ):
        read_case(record, reference="t1")


def test_a_mask_with_another_header_is_told_both_remedies(tmp_path):
    record = _record(tmp_path, mask=_save(tmp_path / "m.nii", np.ones(SHAPE, np.uint8), SHIFTED))
    with pytest.raises(ValueError, match=r"up to 3 mm apart.*`--affines_from_reference`"):
        read_case(record)


def test_a_mask_stored_along_other_axes_is_told_to_name_the_reference(tmp_path):
    turned = np.diag([-1.0, 1, 1, 1])
    turned[0, 3] = SHAPE[0] - 1
    record = _record(tmp_path, mask=_save(tmp_path / "m.nii", np.ones(SHAPE, np.uint8), turned))
    with pytest.raises(ValueError, match="stored along other axes: name the `--reference`"):
        read_case(record)


def test_an_empty_foreground_is_named(tmp_path):
    record = _record(tmp_path, foreground=_save(tmp_path / "f.nii", np.zeros(SHAPE, np.uint8)))
    with pytest.raises(ValueError, match=r"case 017: foreground .* must be above 0 somewhere"):
        read_case(record)


# Folders


def test_a_folder_that_is_absent_is_named(tmp_path):
    for find in (find_brats, find_decathlon, lambda f: find_folder(f, {"t1": "{case}"})):
        with pytest.raises(FileNotFoundError, match=r"folder .*none does not exist"):
            find(tmp_path / "none")


def test_two_brats_files_for_one_modality_are_refused(tmp_path):
    _save(tmp_path / "HGG" / "A_t1.nii.gz")
    _save(tmp_path / "LGG" / "A_t1.nii")
    with pytest.raises(ValueError, match=r"case A: modality t1 should be one file \(found .*HGG.* and .*LGG"):
        find_brats(tmp_path)


def test_a_folder_without_brats_files_is_named(tmp_path):
    _save(tmp_path / "A_seg.nii.gz")
    with pytest.raises(FileNotFoundError, match=r"should hold BraTS files .*found none"):
        find_brats(tmp_path)


def test_a_modality_that_no_case_has_is_named(tmp_path):
    _save(tmp_path / "A_t1.nii.gz")
    with pytest.raises(FileNotFoundError, match=r"no case in .* has modality flair; drop it"):
        find_brats(tmp_path, ["t1", "flair"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"training": []}, 'should list its channels under "modality"'),
        ({"modality": {"0": "T2"}, "training": []}, "should list cases under training"),
        (
            {"modality": {"0": "T2"}, "training": [{"image": "a/1.nii"}, {"image": "b/1.nii"}]},
            r"case 1: should stand in .*dataset\.json once",
        ),
    ],
)
def test_a_bad_dataset_json_is_named(tmp_path, content, message):
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        find_decathlon(tmp_path)


def test_a_decathlon_folder_without_dataset_json_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"should hold the Decathlon's dataset\.json"):
        find_decathlon(tmp_path)


@pytest.mark.parametrize(
    ("patterns", "error", "message"),
    [
        ({"t1": "*/T1.nii"}, ValueError, r"pattern t1: \*/T1.nii should hold \{case\}"),
        ({"t1": "{case}*_t1.nii"}, ValueError, "does not say where the case id ends"),
        ({"t1": "/data/{case}_t1.nii"}, ValueError, "should be relative"),
        ({"t1": "{case}_t9.nii"}, FileNotFoundError, "pattern t1: .* matches nothing in"),
        (
            {"t1": "{case}_*.nii"},
            ValueError,
            "case A: pattern t1: .* should match one file .*make the pattern",
        ),
        (
            {"t1": "{case}_t1.nii", "mask": "x_{case}.nii"},
            ValueError,
            r"mask: .* \(it gives 1, the images A\)",
        ),
        ({"mask": "x_{case}.nii"}, ValueError, "at least one modality"),
        ("{case}_t1.nii", ValueError, "patterns should map a modality to a text"),
    ],
)
def test_bad_patterns_are_named(tmp_path, patterns, error, message):
    for name in ("A_t1.nii", "A_t2.nii", "x_1.nii"):
        _save(tmp_path / name)
    with pytest.raises(error, match=message):
        find_folder(tmp_path, patterns)


def test_dicom_files_one_by_one_are_told_to_name_their_folder(tmp_path):
    for name in "ab":
        (tmp_path / "017").mkdir(exist_ok=True)
        (tmp_path / "017" / f"{name}.dcm").write_bytes(b"")
    with pytest.raises(ValueError, match=r"name the folder, \{case\}/, if they are one DICOM series"):
        find_folder(tmp_path, {"t2": "{case}/*.dcm"})


def test_a_folder_without_recognisable_cases_is_named(tmp_path):
    _save(tmp_path / "a.nii")
    with pytest.raises(FileNotFoundError, match=r"should hold cases with t2, adc: BraTS names .*2 channels"):
        find_cases(tmp_path, ["t2", "adc"])
