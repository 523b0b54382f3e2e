"""A case's files become checked arrays on one grid."""

from __future__ import annotations

import time
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest

from bundle.data import scans
from bundle.data.grids import Grid
from bundle.data.readers import find_brats, find_folder
from bundle.data.records import CaseRecord, ImageSource
from bundle.data.volumes import read_case, read_mask
from tests.dicom import save_dicom

REAL = Path(__file__).parents[3] / "shared" / "data"
SHAPE = (6, 5, 4)
AFFINE = np.array([[-1.0, 0, 0, 10], [0, -2, 0, 20], [0, 0, 3, -5], [0, 0, 0, 1]])  # stored L, P, S


def _values(shape=SHAPE, dtype=np.int16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 900, shape).astype(dtype)


def _save(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def _itk_image(values: np.ndarray, affine: np.ndarray):
    """The same scan for ITK, whose positions are LPS and whose arrays are (Z, Y, X)."""
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = itk.image_from_array(np.ascontiguousarray(values.T))
    image.SetSpacing([float(v) for v in spacing])
    image.SetOrigin([float(v) for v in lps[:3, 3]])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(lps[:3, :3] / spacing)))
    return image


def _record(mask: Path | None = None, foreground: Path | None = None, **images: Path) -> CaseRecord:
    return CaseRecord("017", {name: ImageSource(path) for name, path in images.items()}, mask, foreground)


def test_modalities_are_stacked_in_the_order_asked_for(tmp_path):
    one, two = _values(), _values() + 1
    record = _record(t1=_save(tmp_path / "1.nii.gz", one), t2=_save(tmp_path / "2.nii", two))
    volumes = read_case(record, ["t2", "t1"])
    assert volumes.modalities == ("t2", "t1")
    assert np.array_equal(volumes.image, [two, one])
    assert np.allclose(volumes.affine, AFFINE)
    assert volumes.mask is None
    assert volumes.foreground is None


def test_slices_are_contiguous_in_memory(tmp_path):
    image = read_case(_record(t1=_save(tmp_path / "1.nii.gz", _values()))).image
    assert image[0, :, :, 2].T.flags.c_contiguous


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "mha", "nrrd"])
def test_every_format_gives_the_same_array_and_affine(tmp_path, ending):
    path = tmp_path / f"scan.{ending}"
    if ending.startswith("nii"):
        _save(path, _values())
    else:
        itk.imwrite(_itk_image(_values(), AFFINE), str(path), compression=True)
    volumes = read_case(_record(t1=path))
    assert np.array_equal(volumes.image[0], _values())
    assert np.allclose(volumes.affine, AFFINE)


def test_a_dicom_series_is_sorted_by_position(tmp_path):
    save_dicom(tmp_path / "017" / "T2", _values(), AFFINE)
    (record,) = find_folder(tmp_path, {"t2": "{case}/T2/"})
    volumes = read_case(record)
    assert np.array_equal(volumes.image[0], _values())
    assert np.allclose(volumes.affine, AFFINE, atol=1e-4)


def test_a_dicom_folder_with_two_series_is_refused(tmp_path):
    save_dicom(tmp_path / "T2", _values(), AFFINE, "1.2.3.4")
    save_dicom(tmp_path / "other", _values(), AFFINE, "1.2.3.5")
    for file in (tmp_path / "other").iterdir():
        file.rename(tmp_path / "T2" / f"2{file.name}")
    with pytest.raises(
        ValueError, match=r"case 017: folder .*T2 must hold exactly one DICOM series \(found 2"
    ):
        read_case(_record(t2=tmp_path / "T2"))


def test_a_dicom_series_with_a_gap_is_refused(tmp_path):
    save_dicom(tmp_path / "T2", _values((6, 5, 6)), AFFINE)
    (tmp_path / "T2" / "p.dcm").unlink()
    with pytest.raises(ValueError, match=r"case 017: the DICOM slices in .* should be evenly spaced"):
        read_case(_record(t2=tmp_path / "T2"))


@pytest.mark.parametrize("digits", [6, 3, 2])
def test_rounded_positions_are_no_gap(tmp_path, digits):
    affine = np.diag([0.5, 0.5, 3.3333333, 1.0])
    save_dicom(tmp_path / "T2", _values((6, 5, 8)), affine, digits=digits)
    volumes = read_case(_record(t2=tmp_path / "T2"))
    assert np.array_equal(volumes.image[0], _values((6, 5, 8)))
    assert np.linalg.norm(volumes.affine[:3, 2]) == pytest.approx(3.3333, abs=0.002)


@pytest.mark.parametrize("missing", [False, True])
def test_a_gap_and_a_duplicate_are_refused_among_rounded_positions(tmp_path, missing):
    save_dicom(tmp_path / "T2", _values((6, 5, 8)), np.diag([0.5, 0.5, 3.3333333, 1.0]), digits=2)
    if missing:
        (tmp_path / "T2" / "a.dcm").unlink()
    else:
        again = tmp_path / "again"
        save_dicom(again, _values((6, 5, 8)), np.diag([0.5, 0.5, 3.3333333, 1.0]), digits=2)
        (again / "a.dcm").rename(tmp_path / "T2" / "z.dcm")
    with pytest.raises(ValueError, match=r"case 017: the DICOM slices in .* should be evenly spaced"):
        read_case(_record(t2=tmp_path / "T2"))


def test_a_folder_without_dicom_is_refused(tmp_path):
    (tmp_path / "T2").mkdir()
    with pytest.raises(ValueError, match=r"exactly one DICOM series \(found none\)"):
        read_case(_record(t2=tmp_path / "T2"))


def test_a_4d_file_is_decoded_once(tmp_path, monkeypatch):
    values = _values((*SHAPE, 3))
    path = _save(tmp_path / "4d.nii.gz", values)
    record = CaseRecord("017", {n: ImageSource(path, k, 3) for k, n in enumerate(("a", "b", "c"))})
    reads = []
    read = scans.NibabelReader.get_data
    monkeypatch.setattr(scans.NibabelReader, "get_data", lambda self, img: reads.append(1) or read(self, img))
    assert np.array_equal(read_case(record, ["c", "a"]).image, [values[..., 2], values[..., 0]])
    assert len(reads) == 1


@pytest.mark.parametrize(
    ("dtypes", "kept"),
    [
        ((np.int16, np.int16), np.int16),
        ((np.uint16, np.uint8), np.int16),
        ((np.int16, np.float32), np.float32),
        ((np.int16, np.float64), np.float32),
    ],
)
def test_integers_stay_integers_only_if_all_modalities_are(tmp_path, dtypes, kept):
    one, two = (_values(dtype=t) for t in dtypes)
    record = _record(a=_save(tmp_path / "a.nii", one), b=_save(tmp_path / "b.nii", two))
    image = read_case(record).image
    assert image.dtype == kept
    assert np.array_equal(image, [one, two])


def test_integers_beyond_int16_become_float(tmp_path):
    values = _values(dtype=np.int32) + 40000
    image = read_case(_record(a=_save(tmp_path / "a.nii", values))).image
    assert image.dtype == np.float32
    assert np.array_equal(image[0], values)


def _ramp(shape, affine) -> np.ndarray:
    """Intensity = position along x + 2 y + 3 z in mm, which linear interpolation reproduces."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return ((index @ affine[:3, :3].T + affine[:3, 3]) @ [1.0, 2.0, 3.0]).astype(np.float32)


def test_other_grids_are_resampled_onto_the_reference_without_a_shift(tmp_path):
    coarse = AFFINE @ np.diag([2.0, 2, 1, 1])
    fine, small = _ramp((8, 8, 4), AFFINE), _ramp((4, 4, 4), coarse)
    record = _record(
        adc=_save(tmp_path / "adc.nii", small, coarse), t2=_save(tmp_path / "t2.nii", fine, AFFINE)
    )
    volumes = read_case(record, ["adc", "t2"], reference="t2")
    assert volumes.image.shape == (2, 8, 8, 4)
    assert np.allclose(volumes.affine, AFFINE)
    inside = np.s_[:7, :7]  # the coarse scan's last voxel centre
    assert np.abs(volumes.image[0][inside] - fine[inside]).max() < 1e-3
    assert np.array_equal(volumes.image[1], fine)


def test_outside_the_field_of_view_is_the_darkest_value(tmp_path):
    shifted = AFFINE.copy()
    shifted[0, 3] -= 3  # three voxels along the first axis, which runs to the left
    moving = _values() + 100
    record = _record(a=_save(tmp_path / "a.nii", _values()), b=_save(tmp_path / "b.nii", moving, shifted))
    image = read_case(record, reference="a").image
    assert np.allclose(image[1, :3], moving.min(), atol=1e-3)
    assert np.allclose(image[1, 3:], moving[:3], atol=1e-3)


def test_a_reference_need_not_be_among_the_modalities(tmp_path):
    record = _record(
        a=_save(tmp_path / "a.nii", _values()), b=_save(tmp_path / "b.nii", _values((9, 9, 4)), AFFINE)
    )
    assert read_case(record, ["a"], reference="b").image.shape == (1, 9, 9, 4)


def test_header_rounding_is_no_other_grid(tmp_path):
    rounded = AFFINE + np.where(AFFINE != 0, 1e-3, 0)
    rounded[3] = [0, 0, 0, 1]
    record = _record(a=_save(tmp_path / "a.nii", _values()), b=_save(tmp_path / "b.nii", _values(), rounded))
    assert read_case(record).image.dtype == np.int16


def test_headers_that_disagree_may_be_taken_from_the_reference(tmp_path):
    wrong = AFFINE @ np.diag([1, 1, 1.2, 1])
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, 3, 1] = 1
    record = _record(
        a=_save(tmp_path / "a.nii", _values()),
        b=_save(tmp_path / "b.nii", _values(), wrong),
        mask=_save(tmp_path / "m.nii", mask, wrong),
    )
    volumes = read_case(record, affines_from_reference=True)
    assert np.array_equal(volumes.image[1], _values())
    assert volumes.image.dtype == np.int16
    assert np.array_equal(volumes.mask, mask)


def _flipped(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same scan stored with its second axis reversed."""
    turn = np.diag([1.0, -1, 1, 1])
    turn[1, 3] = SHAPE[1] - 1
    return values[:, ::-1], AFFINE @ turn


@pytest.mark.parametrize("affines_from_reference", [False, True])
def test_a_mask_stored_along_other_axes_is_turned(tmp_path, affines_from_reference):
    mask = np.zeros(SHAPE, np.uint8)
    mask[1, 0, 2] = 4
    record = _record(a=_save(tmp_path / "a.nii", _values()), mask=_save(tmp_path / "m.nii", *_flipped(mask)))
    volumes = read_case(record, reference="a", affines_from_reference=affines_from_reference)
    assert np.array_equal(volumes.mask, mask > 0)


def test_a_mask_drawn_on_another_modality_comes_onto_the_reference(tmp_path):
    coarse = AFFINE @ np.diag([2.0, 2, 1, 1])
    mask = np.zeros((4, 4, 4), np.uint8)
    mask[1, 1, 2] = 1
    record = _record(
        t2=_save(tmp_path / "t2.nii", _values((8, 8, 4))),
        adc=_save(tmp_path / "adc.nii", _values((4, 4, 4)), coarse),
        mask=_save(tmp_path / "m.nii", mask, coarse),
    )
    mask = read_case(record, reference="t2").mask
    assert mask[2, 2, 2] == 1  # coarse voxel 1 has its centre on fine voxel 2
    assert mask.any((0, 1)).tolist() == [False, False, True, False]


def test_any_mask_value_above_zero_is_positive(tmp_path):
    mask = np.zeros(SHAPE, np.float32)
    mask[0, 0, 0], mask[1, 1, 1], mask[2, 2, 2] = 4, 0.99999997, -1
    read, grid = read_mask(_save(tmp_path / "m.nii", mask), "017")
    assert (read.dtype, int(read.sum()), read[1, 1, 1]) == (np.uint8, 2, 1)
    assert np.allclose(grid.affine, AFFINE)


def test_a_mask_is_checked_against_the_grid_it_should_lie_on(tmp_path):
    path = _save(tmp_path / "m.nii", np.ones(SHAPE, np.uint8))
    assert read_mask(path, "017", Grid(SHAPE, AFFINE))[0].all()
    with pytest.raises(ValueError, match="case 017: mask should lie on the grid of the scan"):
        read_mask(path, "017", Grid((7, 5, 4), AFFINE))


def test_a_foreground_is_what_lies_above_zero(tmp_path):
    inside = np.zeros(SHAPE, np.float32)
    inside[1:3, 1:3] = 0.99999997
    record = _record(a=_save(tmp_path / "a.nii", _values()), foreground=_save(tmp_path / "f.nii", inside))
    foreground = read_case(record).foreground
    assert foreground.dtype == bool
    assert np.array_equal(foreground, inside > 0)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason="the real scans in ../shared/data are absent")
class TestRealScans:
    def test_brats2021_keeps_int16_and_reads_in_seconds(self):
        (record,) = find_brats(REAL / "brats2021")
        start = time.perf_counter()
        volumes = read_case(record)
        assert time.perf_counter() - start < 10
        assert (volumes.image.shape, volumes.image.dtype) == ((4, 240, 240, 155), np.int16)
        assert int(volumes.mask.any((0, 1)).sum()) == 68  # tumour slices

    def test_brats2013_brings_mask_and_foreground(self):
        patterns = {
            "flair": "{case}/Flair*.nii.gz",
            "t1c": "{case}/T1c*.nii.gz",
            "mask": "{case}/OT*.nii.gz",
            "foreground": "{case}/brainmask.nii.gz",
        }
        record = find_folder(REAL / "brats2013" / "test", patterns)[0]
        volumes = read_case(record)
        assert volumes.image.dtype == np.float32
        assert 61 <= int(volumes.mask.any((0, 1)).sum()) <= 84
        outside = volumes.image[0][~volumes.foreground]
        assert outside.min() == outside.max() < 0  # a negative constant

    def test_prostatex_native_comes_onto_t2(self):
        patterns = {n: f"{{case}}_{n}.mha" for n in ("t2w", "adc", "hbv")}
        first, second = find_folder(REAL / "prostatex/native", {**patterns, "mask": "{case}.nii.gz"})
        volumes = read_case(first, reference="t2w")
        assert volumes.image.shape == (3, 384, 384, 19)
        assert (int(volumes.mask.sum()), int(volumes.mask.any((0, 1)).sum())) == (512, 4)
        assert not read_case(second, reference="t2w").mask.any()  # drawn on the grid of ADC; a true negative
        with pytest.raises(ValueError, match="--reference t2w"):
            read_case(first)

    def test_prostatex_masks_take_the_header_of_the_image(self):
        patterns = {n: f"imagesTr/{{case}}_000{k}.nii.gz" for k, n in enumerate(("t2", "adc", "hbv"))}
        first, _ = find_folder(REAL / "prostatex", {**patterns, "mask": "labelsTr/{case}.nii.gz"})
        volumes = read_case(first, affines_from_reference=True)
        assert (volumes.image.dtype, int(volumes.mask.sum())) == (np.int16, 512)
        with pytest.raises(ValueError, match=r"3\.6 mm.*3 mm.*--affines_from_reference"):
            read_case(first)

    def test_open_ms_has_small_negative_values_and_stays_float(self):
        patterns = {"flair": "{case}/FLAIR_*.nii.gz", "mask": "{case}/GOLD*.nii.gz"}
        record = find_folder(REAL / "open_ms", patterns)[0]
        volumes = read_case(record)
        assert volumes.image.dtype == np.float32
        assert int(volumes.mask.any((0, 1)).sum()) == 74
