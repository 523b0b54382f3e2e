"""The prostate phantom: written as Task05_Prostate is, and no threshold finds the gland."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bundle.data.cache import PreparedCase
from bundle.data.decathlon import find_decathlon
from bundle.data.foreground import find_foreground
from bundle.data.phantom_prostate import draw_subject, make_prostate_phantom
from bundle.data.phantom_shapes import SliceGrid, capsule, ellipsoid
from scripts.prepare_data import prepare_data

COARSE_MM = 3.0
SUBJECTS = (4, 1, 2)


def make(folder: Path, **options) -> Path:
    arguments = {"subjects": SUBJECTS, "spacing_mm": COARSE_MM, "progress": False, **options}
    return make_prostate_phantom(folder, **arguments)


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("prostate"))


@pytest.fixture(scope="module")
def cases(root) -> list[tuple[np.ndarray, np.ndarray]]:
    """T2 and ADC (X, Y, Z, 2), and the zones, of each case."""
    return [
        tuple(np.asarray(nib.load(path).dataobj) for path in (record.images["t2"].path, record.mask))
        for record in find_decathlon(root)
    ]


def test_one_seed_gives_one_cohort_whatever_the_number_of_workers(root, tmp_path):
    assert files(make(tmp_path, workers=1)) == files(root)


def test_another_seed_gives_another_cohort(root, tmp_path):
    other = make(tmp_path, seed=1, subjects=(1, 0, 0))
    mine, yours = (next(folder.glob("imagesTr/*.nii.gz")) for folder in (root, other))
    assert mine.name != yours.name
    assert mine.read_bytes() != yours.read_bytes()


def test_the_decathlon_reader_finds_t2_and_adc_of_every_case_with_its_zones(root):
    records = find_decathlon(root)
    assert len(records) == sum(SUBJECTS)
    for record in records:
        assert list(record.images) == ["t2", "adc"]
        assert record.mask is not None
        assert record.mask.is_file()
    splits = json.loads((root / "splits.json").read_text())
    assert [len(splits[name]) for name in ("train", "validation", "test")] == list(SUBJECTS)
    assert sorted(case for split in splits.values() for case in split) == [r.case for r in records]


def test_pixels_are_as_asked_over_192_mm_in_slices_of_3_6_mm(root):
    image = nib.load(next(root.glob("imagesTr/*.nii.gz")))
    mask = nib.load(next(root.glob("labelsTr/*.nii.gz")))
    assert image.shape[:2] == (64, 64)  # 192 mm of 3 mm
    assert 18 <= image.shape[2] <= 24
    assert image.shape[3] == 2
    assert np.allclose(image.header.get_zooms()[:3], (3.0, 3.0, 3.6))
    assert np.array_equal(image.affine, mask.affine)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert (image.get_data_dtype(), mask.get_data_dtype()) == (np.int16, np.uint8)


def test_slices_above_and_below_show_no_gland_and_those_between_all_do(cases):
    for _, zones in cases:
        shown = np.flatnonzero((zones > 0).any((0, 1)))
        assert shown[0] >= 2
        assert zones.shape[2] - 1 - shown[-1] >= 2
        assert np.array_equal(shown, np.arange(shown[0], shown[-1] + 1))


def test_glands_have_20_to_90_ml_and_differ(cases):
    volumes = [(zones > 0).sum() * COARSE_MM**2 * 3.6 / 1000 for _, zones in cases]
    assert 19 < min(volumes) < 0.8 * max(volumes)
    assert max(volumes) < 91


def test_the_two_zones_make_one_gland_touch_and_the_peripheral_one_lies_behind(cases):
    for _, zones in cases:
        assert set(np.unique(zones)) == {0, 1, 2}
        parts, count = ndimage.label(zones > 0)
        assert np.bincount(parts.ravel())[1:].max() > 0.99 * (zones > 0).sum(), count
        assert (ndimage.binary_dilation(zones == 2) & (zones == 1)).any()
        behind = [np.argwhere(zones == label)[:, 1].mean() for label in (1, 2)]
        assert behind[0] < behind[1]  # the second axis runs to the front


def test_each_modality_shows_the_zones_in_its_own_way(cases):
    """Means over subjects of a zone's median, in units of the volume's standard deviation."""

    def contrast(channel: int, one: np.ndarray | int, other: int) -> float:
        return float(
            np.mean(
                [
                    (np.median(i[..., channel][z == one]) - np.median(i[..., channel][z == other]))
                    / i[..., channel].std()
                    for i, z in cases
                ]
            )
        )

    assert contrast(0, 1, 2) > 0.5  # the peripheral zone is brighter in T2
    assert contrast(1, 1, 2) > 0.2  # and diffuses more freely
    assert contrast(1, 2, 0) > 1  # the gland stands out in ADC ...
    assert contrast(0, 2, 0) < 0.5  # ... and its centre hardly in T2


def test_adc_is_in_physical_units_and_no_voxel_is_background(cases):
    for image, zones in cases:
        assert 900 < np.median(image[..., 1][zones > 0]) < 2200  # 1e-6 mm2/s
        assert image.min() >= 1
        for channels in (image, image[..., :1], image[..., 1:]):
            assert find_foreground(np.moveaxis(channels, -1, 0)).all()


def oracle_dice(image: np.ndarray, truth: np.ndarray) -> float:
    """Dice in % of the one threshold of this volume that is best, chosen with its mask."""
    order = np.argsort(-image, axis=None, kind="stable")
    values, hits = image.ravel()[order], np.cumsum(truth.ravel()[order])
    whole = np.append(values[1:] != values[:-1], True)  # a threshold takes all voxels of a value
    dice = 200 * hits / (np.arange(1, hits.size + 1) + truth.sum())
    return float(dice[whole].max())


def test_the_oracle_finds_the_best_threshold():
    image, truth = np.array([3, 3, 2, 1]), np.array([True, False, True, False])
    # above 2.5: 2 x 1 / (2 + 2) = 50 %; above 1.5: 2 x 2 / (3 + 2) = 80 %; all: 4 / 6
    assert oracle_dice(image, truth) == pytest.approx(80)


def test_no_threshold_finds_the_gland_not_even_one_chosen_with_its_mask(cases):
    adc = [oracle_dice(image[..., 1], zones > 0) for image, zones in cases]
    t2 = [oracle_dice(image[..., 0], zones > 0) for image, zones in cases]
    assert 20 < np.mean(adc) < 60
    assert max(adc) < 75
    assert np.mean(t2) < 0.6 * np.mean(adc)


def test_three_folds_test_each_case_once_and_hold_out_some_for_tags(tmp_path):
    arguments = {"subjects": "4,1,2", "spacing_mm": "4", "spatial_size": "32", "workers": "1"}
    arguments |= {"anatomy": "prostate", "output_dir": str(tmp_path)}
    assert prepare_data("phantom", folds="3", **arguments) == 0
    folds = [json.loads((tmp_path / f"splits_fold{fold}.json").read_text()) for fold in range(3)]
    tested = Counter(case for fold in folds for case in fold["test"])
    assert sorted(tested) == sorted(case.name for case in (tmp_path / "cases").iterdir())
    assert set(tested.values()) == {1}
    for fold in folds:
        assert fold["validation"]
        assert not set(fold["validation"]) & set(fold["test"])
        assert len(fold["train"]) + len(fold["validation"]) + len(fold["test"]) == 7

    assert prepare_data("phantom", **arguments) == 0  # without folds: the phantom's own splits
    own, used = (json.loads((tmp_path / name).read_text()) for name in ("raw/splits.json", "splits.json"))
    assert own == used
    case = PreparedCase.open(tmp_path / "cases" / used["test"][0])
    assert case.modalities == ["t2", "adc"]
    assert set(case.tags.tolist()) == {0, 1}
    with pytest.raises(ValueError, match="holds another or an unfinished phantom"):
        prepare_data("phantom", **{**arguments, "anatomy": "brain"})


@pytest.mark.parametrize(
    ("source", "options", "finding"),
    [
        ("phantom", {"anatomy": "prostrate"}, "anatomy 'prostrate' is unknown; did you mean prostate"),
        ("brats", {"anatomy": "prostate"}, "--anatomy belongs to the source phantom, found it with brats"),
        ("brats", {"subjects": "1,1,1"}, "--subjects belongs to the source phantom"),
        ("decathlon", {"spacing_mm": "1"}, "--spacing_mm belongs to the source phantom"),
        ("phantom", {"anatomy": "prostate", "spacing_mm": "20"}, "found 20.0; use 1.2"),
        ("phantom", {"anatomy": "prostate", "subjects": "3,1"}, "three counts .* use 20,4,8"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(tmp_path, source, options, finding):
    with pytest.raises(ValueError, match=finding):
        prepare_data(source, output_dir=str(tmp_path), **options)
    assert not any(tmp_path.iterdir())


def test_the_same_gland_shows_at_every_pixel_size():
    volumes, centres = [], []
    for spacing_mm in (4.0, 2.0):
        _, zones = draw_subject(np.random.SeedSequence(3), spacing_mm)
        volumes.append((zones > 0).sum() * spacing_mm**2 * 3.6 / 1000)
        middle = np.argwhere(zones > 0).mean(0) + 0.5
        centres.append(middle * (spacing_mm, spacing_mm, 3.6))
    assert volumes[0] == pytest.approx(volumes[1], rel=0.02)
    assert np.allclose(*centres, atol=1.0)


def test_shapes_measure_in_mm_from_their_surface():
    points = np.array([[0.0, 8.0, 12.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])  # x of three points
    assert np.allclose(ellipsoid(points, (0, 0, 0), (10, 10, 10))[1:], (2, -2))
    assert np.allclose(capsule(points, (0, 0, 0), (8, 0, 0), 3), (3, 3, -1))


def test_a_voxel_that_a_surface_halves_is_half_inside_and_oblique_cuts_are_soft():
    grid = SliceGrid(2.0, 3)
    _, y, z = grid.points_mm()
    upright = grid.share(y - y[0, 5, 0])
    assert upright[0, 5, 1] == 0.5
    assert (upright[0, 4, 1], upright[0, 6, 1]) == (0.0, 1.0)  # 2 mm off: a pixel
    lying = grid.share(z + 1.8)  # 1.8 mm off the middle of slice 1, in slices of 3.6 mm
    assert lying[0, 0, 1] == pytest.approx(0.5 + 1.8 / (2 + 3.6))
