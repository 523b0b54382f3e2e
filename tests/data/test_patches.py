"""3D patches of pseudo masks: labelled as the slices are, drawn from seed and number alone, varied as one."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandAffined, RandFlipd

from bundle.data import (
    PreparedCase,
    PseudoLabelPatchDataset,
    PseudoLabelSliceDataset,
    SliceDataset,
    datalist,
)
from bundle.data.patches import VOLUMES, _Voxels
from tests.conftest import LPS, MODALITIES, SHAPE

WHOLE = (16, 16, 6)  # the prepared cases: slices 0 is blank, 2 and 3 are tagged tumour


@pytest.fixture
def maps(tmp_path) -> Path:
    """Maps with tumour, an ignored fringe and the rest."""
    volume = np.full(SHAPE, 0.1, dtype=np.float32)
    volume[4:11, 5:13, 2:4], volume[6:9, 8:11, 1:5] = 0.4, 0.9
    (tmp_path / "maps").mkdir()
    for case in ("001", "002"):
        nib.save(nib.Nifti1Image(volume, LPS), tmp_path / "maps" / f"{case}.nii.gz")
    return tmp_path / "maps"


def patches(prepared: Path, maps: Path, size=(8, 8, 4), **options) -> PseudoLabelPatchDataset:
    options = {"patches": 12, **options}
    return PseudoLabelPatchDataset(datalist(prepared, "train"), MODALITIES, maps, patch_size=size, **options)


def test_a_case_is_labelled_as_its_slices_are(prepared, maps):
    given = {"upper": 0.6, "lower": 0.2}
    slices = PseudoLabelSliceDataset(datalist(prepared, "train"), MODALITIES, maps, **given)
    dataset = patches(prepared, maps, WHOLE, **given)
    assert {item["case"] for item in dataset} == {"001", "002"}
    labels = {item["case"]: item["label"] for item in dataset}
    for item in slices:
        assert torch.equal(labels[item["case"]][..., item["slice"]], item["label"])
    assert all((label == value).any() for label in labels.values() for value in (-1, 0, 1))


def test_a_slice_without_a_label_is_ignored(prepared, maps):
    label = patches(prepared, maps, WHOLE)[0]["label"]
    assert (label[..., 0] == -1).all()  # blank
    tagged = patches(prepared, maps, WHOLE, tagged_only=True, tag_share=0.5)
    known = [
        (item["label"] >= 0).any(dim=0).flatten(0, 1).any(dim=0).sum() for item in (tagged[0], tagged[1])
    ]
    assert sum(known) == 5  # of ten tags


def test_image_foreground_and_label_are_of_one_place(prepared, maps):
    whole, small = patches(prepared, maps, WHOLE), patches(prepared, maps)
    volumes = {item["case"]: item for item in (whole[0], whole[1])}
    for item in small:
        corner = place_of(item, volumes[item["case"]])
        for key in VOLUMES:
            assert torch.equal(block(volumes[item["case"]][key], corner, (8, 8, 4)), item[key])
            assert item[key].shape[1:] == (8, 8, 4)
            assert item[key].dtype == torch.float32
            assert type(item[key]) is torch.Tensor


def block(volume: torch.Tensor, corner: tuple[int, ...], size: tuple[int, ...]) -> torch.Tensor:
    return volume[(slice(None), *(slice(c, c + s) for c, s in zip(corner, size, strict=True)))]


def place_of(item: dict, volume: dict) -> tuple[int, ...]:
    """Where the image of a patch lies; intensities are noise, so there is one place."""
    size = item["image"].shape[1:]
    ranges = [range(full - part + 1) for full, part in zip(volume["image"].shape[1:], size, strict=True)]
    places = [(a, b, c) for a in ranges[0] for b in ranges[1] for c in ranges[2]]
    (found,) = [at for at in places if torch.equal(block(volume["image"], at, size), item["image"])]
    return found


def test_the_image_is_that_of_the_slices(prepared, maps):
    slices = SliceDataset(datalist(prepared, "train"), MODALITIES)
    volumes = {item["case"]: item["image"] for item in patches(prepared, maps, WHOLE)}
    for item in slices:
        assert torch.equal(volumes[item["case"]][..., item["slice"]], item["image"])


def test_a_patch_depends_on_seed_and_number_alone(prepared, maps):
    geometry = Compose([RandFlipd(VOLUMES, prob=0.5, spatial_axis=axis) for axis in range(3)])
    one, other = (patches(prepared, maps, geometry=geometry) for _ in range(2))
    first = [one[index]["image"] for index in range(6)]
    np.random.rand(3), torch.rand(3)
    again = [other[index]["image"] for index in reversed(range(6))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({image.sum().item() for image in first}) > 3
    elsewhere = patches(prepared, maps, seed=1)
    assert any(not torch.equal(elsewhere[index]["image"], first[index]) for index in range(6))


def test_cases_take_turns(prepared, maps):
    dataset = patches(prepared, maps, patches=7)
    assert len(dataset) == 7
    assert [item["case"] for item in dataset] == ["001", "002"] * 3 + ["001"]


def test_patches_around_tumour_hold_some_and_the_others_lie_in_the_foreground(prepared, maps):
    around = patches(prepared, maps, (3, 3, 1), tumour_share=1.0, patches=20)
    assert all((item["label"][0, 1, 1, 0] == 1) for item in around)
    elsewhere = patches(prepared, maps, (3, 3, 1), tumour_share=0.0, patches=20)
    assert not all((item["label"] == 1).any() for item in elsewhere)
    assert all(item["foreground"].any() for item in elsewhere)


def test_where_no_tumour_is_known_patches_lie_in_the_foreground(prepared, maps, recwarn):
    dataset = patches(prepared, maps, (3, 3, 1), upper=0.95, tumour_share=1.0)
    assert all(item["foreground"].any() and not (item["label"] == 1).any() for item in dataset)
    assert not [warning for warning in recwarn if "balanced" in str(warning.message)]


def test_what_lies_outside_a_small_case_is_empty_and_ignored(prepared, maps):
    item = patches(prepared, maps, (20, 16, 10))[0]
    assert item["image"].shape == (2, 20, 16, 10)
    outside = torch.ones(20, 16, 10, dtype=torch.bool)
    outside[2:18, :, 2:8] = False
    for key, empty in (("image", 0), ("foreground", 0), ("label", -1)):
        assert (item[key][:, outside] == empty).all()
    whole = patches(prepared, maps, WHOLE)[0]
    assert torch.equal(item["label"][:, 2:18, :, 2:8], whole["label"])


def test_geometry_moves_image_foreground_and_label_alike(prepared, maps):
    plain = patches(prepared, maps)
    for axis in range(3):
        flipped = patches(prepared, maps, geometry=Compose([RandFlipd(VOLUMES, prob=1.0, spatial_axis=axis)]))
        for index in range(4):
            for key in VOLUMES:
                assert torch.equal(flipped[index][key], plain[index][key].flip(axis + 1))


def test_what_geometry_brings_in_from_outside_is_ignored(prepared, maps):
    half = RandAffined(
        VOLUMES,
        prob=1.0,
        translate_range=[(8, 8), (0, 0), (0, 0)],  # rows, half of the patch
        mode=["bilinear", "nearest", "nearest"],
        padding_mode="zeros",
    )
    moved = patches(prepared, maps, WHOLE, geometry=Compose([half]))[0]
    plain = patches(prepared, maps, WHOLE)[0]
    assert (moved["label"][:, 8:] == -1).all()
    assert not moved["image"][:, 8:].any()
    assert torch.equal(moved["label"][:, :8], plain["label"][:, 8:])
    assert torch.equal(moved["foreground"][:, :8], plain["foreground"][:, 8:])


def test_labels_stay_whole_numbers_whatever_the_geometry(prepared, maps):
    turned = RandAffined(
        VOLUMES,
        prob=1.0,
        rotate_range=[(0.5, 0.5), (0.3, 0.3), (0.4, 0.4)],
        mode=["bilinear", "nearest", "nearest"],
        padding_mode="zeros",
    )
    for item in patches(prepared, maps, WHOLE, geometry=Compose([turned])):
        assert set(item["label"].unique().tolist()) <= {-1.0, 0.0, 1.0}
        assert set(item["foreground"].unique().tolist()) <= {0.0, 1.0}


def test_true_masks_are_not_needed(prepared, maps):
    before = [item["label"] for item in patches(prepared, maps)]
    for mask in (prepared / "masks").glob("*.nii.gz"):
        mask.unlink()
    after = [item["label"] for item in patches(prepared, maps)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_other_labels_have_another_fingerprint(prepared, maps):
    assert patches(prepared, maps).fingerprint() == patches(prepared, maps).fingerprint()
    assert patches(prepared, maps).fingerprint() != patches(prepared, maps, upper=0.95).fingerprint()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": (8, 8)}, r"patch_size: expected rows, columns and slices from 1 up, got \[8, 8\]"),
        ({"size": (8, 8, 0)}, "patch_size: expected rows, columns and slices from 1 up"),
        ({"patches": 0}, "patches: expected at least 1, got 0; they are `epochs` times `epoch_slices`"),
        ({"tumour_share": 1.5}, "tumour_share: expected a share from 0 to 1, got 1.5"),
    ],
)
def test_what_makes_no_sense_is_refused(given, message, prepared, maps):
    with pytest.raises(ValueError, match=message):
        patches(prepared, maps, **given)


def test_only_the_patch_is_read(prepared, maps, monkeypatch):
    """No whole volume of images is copied, whatever the size of the case."""
    seen = []
    original = PreparedCase.image.fget

    class Watched:
        def __init__(self, array):
            self.array = array

        def __getitem__(self, key):
            seen.append(self.array[key].shape)
            return self.array[key]

    monkeypatch.setattr(PreparedCase, "image", property(lambda case: Watched(original(case))))
    patches(prepared, maps, (8, 4, 2))[0]
    assert seen == [(2, 2, 8, 4)]


def test_of_the_labels_the_patchs_slices_alone_are_unpacked(prepared, maps, monkeypatch):
    dataset = patches(prepared, maps, (8, 4, 2), tumour_share=1.0)
    seen = []
    original = dataset.pseudo_mask
    monkeypatch.setattr(dataset, "pseudo_mask", lambda row: seen.append(row) or original(row))
    dataset[0]
    assert 1 <= len(seen) <= 3  # two slices, and the one that the centre was drawn from


def test_voxels_are_those_of_flatnonzero_in_order():
    marks = np.random.default_rng(0).random((5, 4, 3)) > 0.6
    marks[[0, 3]] = False
    voxels = _Voxels(marks.sum(axis=(1, 2)), lambda position: marks[position])
    assert [voxels[index] for index in range(len(voxels))] == np.flatnonzero(marks).tolist()
