"""A modality that is missing at inference: zeros stand for it, a warning names it, and the others carry on."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from bundle.data import CaseDataset, NormalizeByForegroundd, SliceDataset, collate_cases
from bundle.data.cache import PreparedCase
from bundle.data.datalists import datalist, find_entries, raw_record, read_datalist
from bundle.data.geometry import SliceGeometry
from bundle.data.modality_names import usable_modalities
from bundle.data.readers import find_cases, find_decathlon
from tests.conftest import LPS, SHAPE, make_scan

MODALITIES = ["flair", "t1c"]


@pytest.fixture
def lacking(cohort: Path) -> Path:
    """The cohort in the BraTS layout; case 002 has no T1c."""
    (cohort / "002" / "002_t1c.nii.gz").unlink()
    return cohort


def quietly(data: CaseDataset, index: int) -> dict:
    """An item, where no warning may come."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return data[index]


# Which may be used


@pytest.mark.parametrize("given", ["flair,t1", ("flair", "t1"), ["flair", "t1"], "[flair,t1]"])
def test_they_are_named_in_any_order_and_kept_in_the_networks(given):
    assert usable_modalities(given, ["t1", "t1c", "flair"]) == ["t1", "flair"]


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(
        ValueError, match=r"available: flare is none of the `modalities`; did you mean flair\?"
    ):
        CaseDataset([], MODALITIES, available="t1c,flare")


def test_none_at_all_is_refused():
    with pytest.raises(ValueError, match="available: expected some of flair, t1c, found none"):
        usable_modalities([], MODALITIES)


# Raw scans


def test_a_missing_file_is_a_channel_of_0_beside_the_others_as_they_are(lacking):
    entries = find_entries(lacking, MODALITIES)
    expected = (
        r"case 002: modality t1c is missing \(looked for 002_t1c\.nii\.gz in .*002\); .* from flair alone"
    )
    with pytest.warns(UserWarning, match=expected) as told:
        item = CaseDataset(entries, MODALITIES, 16)[1]
    assert len(told) == 1
    assert item["available"].tolist() == [True, False]
    assert item["image"].shape == (2, 16, 16, 6)
    assert item["image"].permute(3, 0, 1, 2).is_contiguous()
    assert not item["image"][1].any()
    alone = CaseDataset(entries, ["flair"], 16)[1]
    for key in ("image", "statistics"):
        torch.testing.assert_close(item[key][:1], alone[key], rtol=0, atol=0)
    torch.testing.assert_close(item["foreground"], alone["foreground"], rtol=0, atol=0)


def test_a_complete_case_has_all_and_brings_no_warning(lacking):
    item = quietly(CaseDataset(find_entries(lacking, MODALITIES), MODALITIES, 16), 0)
    assert item["available"].dtype == torch.bool
    assert item["available"].tolist() == [True, True]


def test_the_channel_of_0_stays_0_when_it_is_normalised(lacking):
    entries = find_entries(lacking, MODALITIES)
    data = CaseDataset(entries, MODALITIES, 16, NormalizeByForegroundd("image"), available="t1c")
    item = quietly(data, 0)
    assert not item["image"][0].any()
    assert item["image"][1].std() > 0.1


def test_what_may_not_be_used_is_missing_without_a_warning(cohort):
    item = quietly(CaseDataset(find_entries(cohort, MODALITIES), MODALITIES, 16, available=("t1c",)), 0)
    assert item["available"].tolist() == [False, True]
    assert not item["image"][0].any()
    assert item["image"][1].any()


def test_a_modality_that_no_case_has_is_missing_as_well(cohort):
    for file in cohort.rglob("*_t1c.nii.gz"):
        file.unlink()
    data = CaseDataset(find_entries(cohort, MODALITIES), MODALITIES, 16)
    for index in range(4):
        with pytest.warns(UserWarning, match=rf"case 00{index + 1}: modality t1c is missing"):
            assert data[index]["available"].tolist() == [True, False]


def test_a_case_with_none_of_them_is_refused(lacking):
    data = CaseDataset(find_entries(lacking, MODALITIES, available="t1c"), MODALITIES, 16, available="t1c")
    expected = r"case 002: expected one of t1c, found none \(looked for 002_t1c\.nii\.gz in .*add a file"
    with pytest.raises(FileNotFoundError, match=expected):
        data[1]


def test_a_damaged_file_is_not_a_missing_one(lacking):
    (lacking / "002" / "002_t1c.nii.gz").write_bytes(b"no scan")
    with pytest.raises(ValueError, match=r"case 002: file .*002_t1c\.nii\.gz is truncated or damaged"):
        CaseDataset(find_entries(lacking, MODALITIES), MODALITIES, 16)[1]


def test_patterns_may_match_nothing_but_not_all_of_them(lacking):
    patterns = {"flair": "{case}/{case}_flair.nii.gz", "t1c": "{case}/{case}_t1gd.nii.gz"}
    data = CaseDataset(find_entries(lacking, MODALITIES, patterns=patterns), MODALITIES, 16)
    with pytest.warns(UserWarning, match=r"modality t1c is missing \(looked for 001_t1gd\.nii\.gz"):
        assert data[0]["available"].tolist() == [True, False]
    with pytest.raises(FileNotFoundError, match=r"pattern t1c: .*t1gd.* matches nothing"):
        find_cases(lacking, ["t1c"], patterns)


def test_a_modality_without_a_pattern_is_named_as_not_available(lacking):
    patterns = {"flair": "{case}/{case}_flair.nii.gz"}
    with pytest.raises(ValueError, match="modality t1c has no pattern; add one, or name with `--available`"):
        find_entries(lacking, MODALITIES, patterns=patterns)
    entries = find_entries(lacking, MODALITIES, patterns=patterns, available="flair")
    data = CaseDataset(entries, MODALITIES, 16, available="flair")
    assert quietly(data, 1)["available"].tolist() == [True, False]


def test_a_foreground_that_matches_nothing_is_an_error_as_before(lacking):
    patterns = {"flair": "{case}/{case}_flair.nii.gz", "foreground": "{case}/brain.nii.gz"}
    with pytest.raises(FileNotFoundError, match=r"pattern foreground: .* matches nothing"):
        find_cases(lacking, ["flair"], patterns)


@pytest.mark.parametrize(
    "image",
    [
        ["002/002_flair.nii.gz", None],
        ["002/002_flair.nii.gz", "002/none.nii.gz"],
        {"flair": "002/002_flair.nii.gz"},
        {"flair": "002/002_flair.nii.gz", "t1c": None},
    ],
)
def test_a_datalist_may_name_no_file_or_one_that_is_not_there(lacking, image):
    (lacking / "list.json").write_text(json.dumps([{"image": image}]))
    with pytest.warns(UserWarning, match="case 002.*: modality t1c is missing"):
        item = CaseDataset(read_datalist(lacking / "list.json"), MODALITIES, 16)[0]
    assert item["available"].tolist() == [True, False]


def test_a_datalist_of_nothing_is_refused():
    with pytest.raises(ValueError, match="an entry names no image and no case"):
        raw_record({"image": [None, None]}, MODALITIES, complete=False)


def four_d(folder: Path, channels: int) -> Path:
    """A Decathlon task of FLAIR and T1c, whose file has a number of channels of its own."""
    image, _ = make_scan(1)
    stacked = np.stack([image["flair"], *[image["t1c"]] * (channels - 1)], axis=-1)
    nib.save(nib.Nifti1Image(stacked, LPS), folder / "case.nii.gz")
    content = {"modality": {"0": "FLAIR", "1": "T1gd"}, "training": [{"image": "case.nii.gz"}]}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def test_of_a_4d_file_the_channels_that_may_be_used_are_read(tmp_path):
    folder, modalities = four_d(tmp_path, 2), ["t1", "t1c", "flair"]  # the task has no T1
    with pytest.raises(ValueError, match="modality t1 is not known here"):
        find_entries(folder, modalities)
    data = CaseDataset(find_entries(folder, modalities, available="t1c"), modalities, 16, available="t1c")
    item = quietly(data, 0)
    assert item["available"].tolist() == [False, True, False]
    alone = CaseDataset(find_entries(folder, ["t1c"]), ["t1c"], 16)[0]
    torch.testing.assert_close(item["image"][1:2], alone["image"], rtol=0, atol=0)


def test_a_4d_file_with_another_number_of_channels_is_an_error_as_before(tmp_path):
    entries = find_entries(four_d(tmp_path, 3), MODALITIES, available="flair")
    with pytest.raises(ValueError, match=r"should hold 2 channels, one a modality \(found 3\)"):
        CaseDataset(entries, MODALITIES, 16, available="flair")[0]


# The reference


def coarse_t1c(cohort: Path) -> tuple[int, int, int]:
    """Stores T1c of case 002 with every second row and column; returns its shape."""
    image, _ = make_scan(2)
    values = image["t1c"][::2, ::2]
    affine = LPS @ np.diag([2.0, 2.0, 1.0, 1.0])
    nib.save(nib.Nifti1Image(values, affine), cohort / "002" / "002_t1c.nii.gz")
    return values.shape


def test_the_reference_gives_its_grid_though_it_may_not_be_used(cohort):
    coarse = coarse_t1c(cohort)
    entries = find_entries(cohort, MODALITIES, reference="t1c", available="flair")
    item = quietly(CaseDataset(entries, MODALITIES, 16, reference="t1c", available="flair"), 1)
    assert item["available"].tolist() == [True, False]
    assert item["geometry"].shape == coarse


def test_for_a_missing_reference_the_first_modality_gives_the_grid(cohort):
    coarse_t1c(cohort)
    (cohort / "002" / "002_flair.nii.gz").rename(cohort / "002" / "002_t2.nii.gz")
    modalities = ["flair", "t2", "t1c"]
    data = CaseDataset(find_entries(cohort, modalities, reference="flair"), modalities, 16, reference="flair")
    expected = (
        "case 002: modality flair is missing .*; the grid is that of t2, as the reference flair is missing"
    )
    with pytest.warns(UserWarning, match=expected) as told:
        item = data[1]
    assert len(told) == 1
    assert item["geometry"].shape == SHAPE
    assert item["available"].tolist() == [False, True, True]  # T1c was brought onto the grid of T2


def test_a_mistyped_reference_is_an_error_as_before(cohort):
    files = [str(cohort / "001" / f"001_{modality}.nii.gz") for modality in MODALITIES]
    with pytest.raises(ValueError, match="case 001: reference flare should be a modality of the case"):
        CaseDataset([{"image": files, "case": "001"}], MODALITIES, 16, reference="flare")[0]


# Prepared data sets


def test_what_a_prepared_case_may_not_use_is_a_channel_of_0(prepared):
    data = CaseDataset(datalist(prepared, "all"), MODALITIES, available="t1c")
    item = quietly(data, 0)
    case = PreparedCase.open(prepared / "cases" / "001")
    assert item["available"].tolist() == [False, True]
    assert not item["image"][0].any()
    np.testing.assert_array_equal(item["image"][1].permute(2, 0, 1), case.image[:, 1])
    np.testing.assert_array_equal(item["statistics"], [[0, 0, 0, 1], case.statistics[1]])


def test_what_a_case_was_not_prepared_with_is_missing(prepared):
    data = CaseDataset(datalist(prepared, "test"), ["t1", "t1c", "t2", "flair"])
    expected = (
        r"case 004: modalities t1, t2 are missing \(prepared were flair, t1c\); .* from t1c, flair alone"
    )
    with pytest.warns(UserWarning, match=expected):
        item = data[0]
    assert item["available"].tolist() == [False, True, False, True]
    case = PreparedCase.open(prepared / "cases" / "004")
    np.testing.assert_array_equal(item["image"][3].permute(2, 0, 1), case.image[:, 0])


def test_a_case_that_was_prepared_with_none_of_them_is_refused(prepared):
    with pytest.raises(ValueError, match="case 004: modality t1 was not prepared, only flair, t1c"):
        CaseDataset(datalist(prepared, "test"), ["t1", "t2"])[0]


# Training stays strict, and what was found out reaches the postprocessing


@pytest.mark.parametrize("image", [["002_flair.nii.gz", None], {"flair": "002_flair.nii.gz"}])
def test_training_refuses_an_entry_that_lacks_a_modality(lacking, tmp_path, image):
    with pytest.raises(ValueError, match="modality t1c is missing from the datalist's `image`"):
        SliceDataset([{"image": image, "case": "002"}], MODALITIES, tmp_path / "cache", 16)


def test_training_refuses_a_file_that_is_not_there(lacking, tmp_path):
    files = [str(lacking / "002" / f"002_{modality}.nii.gz") for modality in MODALITIES]
    with pytest.raises(FileNotFoundError, match="case 002: modality t1c is missing"):
        SliceDataset([{"image": files, "case": "002"}], MODALITIES, tmp_path / "cache", 16)


def test_preparing_refuses_a_decathlon_task_without_the_modality(tmp_path):
    with pytest.raises(ValueError, match="modality t1 is not known here"):
        find_decathlon(four_d(tmp_path, 2), ["t1", "t1c"])


def test_a_batch_of_one_case_keeps_what_is_available():
    geometry = SliceGeometry.from_scan(SHAPE, LPS, 16)
    batch = collate_cases([{"geometry": geometry, "available": torch.tensor([True, False])}])
    assert batch["available"].tolist() == [[True, False]]
