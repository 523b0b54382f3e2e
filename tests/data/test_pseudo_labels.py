"""Pseudo masks: the tag decides in healthy slices, an earlier stage's map in the others, and no true mask ever."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from bundle.data import PreparedCase, PseudoLabelSliceDataset, SliceDataset, datalist
from bundle.data.prepare import PrepareOptions, prepare_cohort
from bundle.data.readers import find_brats
from tests.conftest import LPS, MODALITIES, SHAPE

EVERYWHERE = np.ones(SHAPE, dtype=np.float32)


def write_maps(folder: Path, volume: np.ndarray, cases: tuple[str, ...] = ("001", "002")) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        nib.save(nib.Nifti1Image(volume.astype(np.float32), LPS), folder / f"{case}.nii.gz")
    return folder


def labels(dataset_dir: Path, maps: Path, **options) -> dict[int, torch.Tensor]:
    """Slice to label of the first training case, (H, W)."""
    dataset = PseudoLabelSliceDataset(datalist(dataset_dir, "train"), MODALITIES, maps, **options)
    return {item["slice"]: item["label"][0] for item in dataset if item["case"] == "001"}


@pytest.fixture
def wide(cohort, splits, tmp_path) -> Path:
    """The cohort at its own size, so that labels can be read off the map pixel by pixel."""
    options = PrepareOptions(MODALITIES, tags_from_masks=True, splits=splits, spatial_size=None, workers=1)
    prepare_cohort(find_brats(cohort, MODALITIES), tmp_path / "wide", options, "brats", progress=False)
    return tmp_path / "wide"


def test_a_map_is_cut_at_two_thresholds_in_slices_tagged_tumour(wide, tmp_path):
    volume = 0.1 * EVERYWHERE
    volume[8, 10, 2], volume[9, 10, 2] = 0.9, 0.4
    found = labels(wide, write_maps(tmp_path / "maps", volume), upper=0.5, lower=0.3)[2]
    geometry = PreparedCase.open(wide / "cases" / "001").geometry
    assert torch.equal(found == 1, torch.from_numpy(geometry.apply(volume)[2] > 0.5))
    assert torch.equal(found == -1, torch.from_numpy(geometry.apply(volume)[2] == np.float32(0.4)))
    assert [(found == value).sum().item() for value in (1, -1)] == [1, 1]
    assert found.dtype == torch.float32
    assert found.shape == (24, 24)


def test_a_slice_tagged_healthy_is_healthy_whatever_the_map_says(prepared, tmp_path):
    found = labels(prepared, write_maps(tmp_path / "maps", EVERYWHERE))
    for position in (1, 4, 5):  # 2 and 3 are tagged tumour, 0 is blank
        assert not found[position].any()
    inside = found[2] != 0
    assert inside.any()


def test_where_the_map_shows_nothing_in_a_tumour_slice_what_it_hints_at_is_ignored(wide, tmp_path):
    volume = np.zeros(SHAPE, dtype=np.float32)
    volume[8, 10, 2] = 0.2  # above a tenth of `lower`, below `lower`
    found = labels(wide, write_maps(tmp_path / "maps", volume))
    assert [(found[2] == value).sum().item() for value in (1, -1)] == [0, 1]
    assert not found[3].any()  # no hint


def test_blank_slices_are_left_out_and_untagged_ones_are_used(prepared, tmp_path):
    maps = write_maps(tmp_path / "maps", EVERYWHERE)
    assert set(labels(prepared, maps)) == {1, 2, 3, 4, 5}
    entries = datalist(prepared, "train")
    untagged = [{**entry, "label": str(tmp_path / "tags.json")} for entry in entries]
    (tmp_path / "tags.json").write_text('{"tags": [-1, -1, 1, 0, -1, -1]}')
    dataset = PseudoLabelSliceDataset(untagged, MODALITIES, maps)
    assert len(dataset) == 10
    by_slice = {item["slice"]: item["label"] for item in dataset}
    assert not by_slice[3].any()
    assert all((by_slice[position] == 1).any() for position in (1, 2, 4, 5))


def test_tagged_slices_alone_on_request(prepared, tmp_path):
    entries = [{**entry, "label": str(tmp_path / "tags.json")} for entry in datalist(prepared, "train")]
    (tmp_path / "tags.json").write_text('{"tags": [-1, -1, 1, 0, -1, -1]}')
    maps = write_maps(tmp_path / "maps", EVERYWHERE)
    dataset = PseudoLabelSliceDataset(entries, MODALITIES, maps, tagged_only=True)
    assert [item["slice"] for item in dataset] == [2, 3, 2, 3]


def test_an_item_is_that_of_the_tags_but_for_its_label(prepared, tmp_path):
    entries = datalist(prepared, "train")
    ours = PseudoLabelSliceDataset(entries, MODALITIES, write_maps(tmp_path / "maps", EVERYWHERE))
    theirs = SliceDataset(entries, MODALITIES)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one["image"], other["image"])
        assert (one["case"], one["slice"]) == (other["case"], other["slice"])
        assert one["label"].shape == (1, 16, 16)
        assert (one["label"] == 1).any() == bool(other["label"])


def test_true_masks_are_not_needed(prepared, tmp_path):
    maps = write_maps(tmp_path / "maps", EVERYWHERE)
    before = labels(prepared, maps)
    for mask in (prepared / "masks").glob("*.nii.gz"):
        mask.unlink()
    after = labels(prepared, maps)
    assert all(torch.equal(after[position], before[position]) for position in before)


def test_a_case_without_a_map_is_named_with_the_remedy(prepared, tmp_path):
    maps = write_maps(tmp_path / "maps", EVERYWHERE, cases=("001",))
    with pytest.raises(FileNotFoundError, match=r"case 002: its map .* is missing; .*--save_also cams"):
        labels(prepared, maps)


@pytest.mark.parametrize(
    ("shape", "affine"), [((20, 24, 5), LPS), (SHAPE, np.diag([1.0, -1.0, 3.0, 1.0]))], ids=["shape", "place"]
)
def test_a_map_on_another_grid_is_refused(shape, affine, prepared, tmp_path):
    maps = write_maps(tmp_path / "maps", EVERYWHERE)
    nib.save(nib.Nifti1Image(np.ones(shape, np.float32), affine), maps / "002.nii.gz")
    with pytest.raises(ValueError, match=r"case 002: its map .* scan's own position"):
        labels(prepared, maps)


@pytest.mark.parametrize(("upper", "lower"), [(0.3, 0.5), (1.0, 0.5), (0.5, -0.1)])
def test_thresholds_are_in_order(upper, lower, prepared, tmp_path):
    with pytest.raises(ValueError, match="expected 0 <= lower <= upper < 1"):
        labels(prepared, tmp_path, upper=upper, lower=lower)
