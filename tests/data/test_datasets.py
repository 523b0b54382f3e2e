"""Slices with tags for training, whole cases for inference, from prepared or raw entries; never a mask."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from bundle.data.cache import PreparedCase
from bundle.data.datalists import datalist, find_datalist, raw_record, read_datalist, truth_path
from bundle.data.datasets import CaseDataset, SliceDataset

MODALITIES = ["flair", "t1c"]


def raw_entry(cohort: Path, case: str, label: str | None = "seg") -> dict:
    files = [str(cohort / case / f"{case}_{m}.nii.gz") for m in MODALITIES]
    entry = {"image": files, "case": case}
    return entry if label is None else {**entry, "label": str(cohort / case / f"{case}_{label}.nii.gz")}


def test_training_yields_tagged_slices_with_foreground_and_never_a_mask(prepared):
    data = SliceDataset(datalist(prepared, "train"), MODALITIES)
    item = data[0]
    assert set(item) == {"image", "foreground", "label", "statistics", "case", "slice"}
    assert item["image"].shape == (2, 16, 16)
    assert item["foreground"].shape == (1, 16, 16)
    assert item["statistics"].shape == (2, 4)
    assert item["label"].shape == ()
    assert all(item[k].dtype == torch.float32 for k in ("image", "foreground", "label", "statistics"))
    assert (item["case"], item["slice"]) == ("001", 1)  # slice 0 is blank
    assert len(data) == 2 * 5
    assert [data[i]["label"].item() for i in range(5)] == [0, 1, 1, 0, 0]


def test_slices_are_those_of_the_cache(prepared):
    data = SliceDataset(datalist(prepared, "train"), MODALITIES)
    for item in data.__getitems__([7, 2]):
        case = PreparedCase.open(prepared / "cases" / item["case"])
        np.testing.assert_array_equal(item["image"], case.image[item["slice"]])
        np.testing.assert_array_equal(item["foreground"][0], case.foreground[item["slice"]])
        np.testing.assert_array_equal(item["statistics"], case.statistics)


def test_a_batch_equals_its_items(prepared):
    data = SliceDataset(datalist(prepared, "train"), MODALITIES)
    for single, many in zip([data[3], data[8]], data.__getitems__([3, 8]), strict=True):
        assert (single["case"], single["slice"]) == (many["case"], many["slice"])
        torch.testing.assert_close(single["image"], many["image"], rtol=0, atol=0)


def test_untagged_and_blank_slices_are_predicted_but_not_trained_on(prepared):
    file = prepared / "cases" / "001" / "case.json"
    described = json.loads(file.read_text())
    described["tags"] = [1, 1, 0, -1, -1, -1]  # slice 0 is blank, whatever its tag
    file.write_text(json.dumps(described))
    entries = datalist(prepared, "train")[:1]
    assert SliceDataset(entries, MODALITIES).slice_index.tolist() == [1, 2]
    assert len(SliceDataset(entries, MODALITIES, tagged_only=False)) == 6
    assert CaseDataset(entries, MODALITIES)[0]["image"].shape[-1] == 6


def test_modalities_are_picked_and_ordered_by_name(prepared):
    entries = datalist(prepared, "train")
    both, one = SliceDataset(entries, MODALITIES)[2], SliceDataset(entries, "t1c")[2]
    turned = SliceDataset(entries, "t1c,flair")[2]
    torch.testing.assert_close(one["image"], both["image"][1:], rtol=0, atol=0)
    torch.testing.assert_close(turned["image"], both["image"].flip(0), rtol=0, atol=0)
    torch.testing.assert_close(turned["statistics"], both["statistics"].flip(0), rtol=0, atol=0)
    volume = CaseDataset(entries, ["t1c", "flair"])[0]["image"]
    torch.testing.assert_close(volume[..., 3], turned["image"], rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"modality flare .* did you mean flair\?"):
        SliceDataset(entries, ["flare"])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_gives_the_same_with_workers(prepared, workers):
    data = pickle.loads(pickle.dumps(SliceDataset(datalist(prepared, "train"), MODALITIES)))
    loader = DataLoader(data, batch_size=4, num_workers=workers)
    batch = next(iter(loader))
    assert batch["image"].shape == (4, 2, 16, 16)
    torch.testing.assert_close(batch["image"][3], data[3]["image"], rtol=0, atol=0)


def test_a_transform_sees_each_item(prepared):
    data = SliceDataset(
        datalist(prepared, "train"), MODALITIES, transform=lambda item: {"double": 2 * item["image"]}
    )
    assert set(data[0]) == {"double"}


def test_raw_entries_are_prepared_once_into_the_cache(cohort, tmp_path, monkeypatch):
    data = [raw_entry(cohort, "001"), raw_entry(cohort, "002")]
    first = SliceDataset(data, MODALITIES, cache_dir=tmp_path / "cache", spatial_size=16)
    assert first.tags.tolist() == [0, 1, 1, 0, 0] * 2
    monkeypatch.setattr("bundle.data.datasets.read_case", lambda *a, **k: pytest.fail("read again"))
    again = SliceDataset(data, MODALITIES, cache_dir=tmp_path / "cache", spatial_size=16)
    torch.testing.assert_close(first[4]["image"], again[4]["image"], rtol=0, atol=0)


def test_a_raw_case_gives_what_the_prepared_one_gives(cohort, prepared, tmp_path):
    raw = SliceDataset([raw_entry(cohort, "001")], MODALITIES, tmp_path / "cache", spatial_size=16)
    ready = SliceDataset(datalist(prepared, "train")[:1], MODALITIES)
    assert len(raw) == len(ready)
    for key in ("image", "foreground", "label", "statistics"):
        torch.testing.assert_close(raw[3][key], ready[3][key], rtol=0, atol=0)


def test_a_mask_as_label_leaves_nothing_but_tags(cohort, tmp_path, contents):
    for name, entry in (("a", raw_entry(cohort, "001")), ("b", raw_entry(cohort, "001", label=None))):
        SliceDataset([entry], MODALITIES, tmp_path / name, spatial_size=16, tagged_only=False)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_tags_in_a_json_file_train_too(cohort, tmp_path):
    label = tmp_path / "final.json"
    label.write_text(json.dumps({"positive_slices": [2], "negative_slices": [4]}))
    entry = {**raw_entry(cohort, "001", None), "label": str(label)}
    data = SliceDataset([entry], MODALITIES, tmp_path / "cache", spatial_size=16)
    assert data.slice_index.tolist() == [2, 4]
    assert data.tags.tolist() == [1, 0]


def test_a_changed_scan_is_prepared_again(cohort, tmp_path):
    entry = raw_entry(cohort, "001")
    before = SliceDataset([entry], MODALITIES, tmp_path / "cache", spatial_size=16)[0]["image"]
    image = nib.load(entry["image"][0])
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * 2, image.affine), entry["image"][0])
    after = SliceDataset([entry], MODALITIES, tmp_path / "cache", spatial_size=16)[0]["image"]
    torch.testing.assert_close(after[0], 2 * before[0])


def test_whole_cases_prepared_and_raw_agree_and_nothing_is_written(cohort, prepared, contents):
    before = contents(cohort.parent)
    ready = CaseDataset(datalist(prepared, "all"), MODALITIES, 16)[0]
    raw = CaseDataset([raw_entry(cohort, "001")], MODALITIES, 16)[0]
    assert set(raw) == {
        "image",
        "foreground",
        "statistics",
        "geometry",
        "case",
        "truth",
        "blank",
        "available",
    }
    assert raw["image"].shape == (2, 16, 16, 6)
    assert raw["image"].permute(3, 0, 1, 2).is_contiguous()
    assert raw["foreground"].shape == (1, 16, 16, 6)
    assert raw["geometry"] == ready["geometry"]
    for key in ("image", "foreground", "statistics", "blank"):
        torch.testing.assert_close(raw[key], ready[key], rtol=0, atol=0)
    assert contents(cohort.parent) == before


def test_one_4d_file_holds_a_case(cohort, tmp_path):
    files = raw_entry(cohort, "001")["image"]
    stacked = np.stack([np.asarray(nib.load(f).dataobj) for f in files], axis=-1)
    nib.save(nib.Nifti1Image(stacked, nib.load(files[0]).affine), tmp_path / "patient.nii.gz")
    case = CaseDataset([{"image": str(tmp_path / "patient.nii.gz")}], MODALITIES, 16)[0]
    assert case["case"] == "patient"
    expected = CaseDataset([raw_entry(cohort, "001")], MODALITIES, 16)[0]["image"]
    torch.testing.assert_close(case["image"], expected, rtol=0, atol=0)


def test_a_folder_of_raw_scans_is_a_datalist_too(cohort, prepared):
    raw = find_datalist(cohort, MODALITIES)
    assert [entry["case"] for entry in raw] == ["001", "002", "003", "004"]
    assert truth_path(raw[0]) == cohort / "001" / "001_seg.nii.gz"
    assert CaseDataset(raw, MODALITIES, 16)[3]["case"] == "004"
    ready = find_datalist(prepared, MODALITIES, "test")
    assert [entry["case"] for entry in ready] == ["004"]
    assert truth_path(ready[0]) == prepared / "masks" / "004.nii.gz"


def test_paths_in_a_datalist_file_start_at_its_folder(cohort):
    entries = [
        {"image": ["001/001_flair.nii.gz", "001/001_t1c.nii.gz"], "label": "001/001_seg.nii.gz"},
        {"image": {"t1c": "002/002_t1c.nii.gz", "flair": "002/002_flair.nii.gz"}, "case": "second"},
    ]
    (cohort / "list.json").write_text(json.dumps(entries))
    read = read_datalist(cohort / "list.json")
    assert read[0]["label"] == str(cohort / "001" / "001_seg.nii.gz")
    items = [CaseDataset(read, MODALITIES, 16)[i] for i in range(2)]
    assert [item["case"] for item in items] == ["001", "second"]
    expected = CaseDataset([raw_entry(cohort, "002")], MODALITIES, 16)[0]["image"]
    torch.testing.assert_close(items[1]["image"], expected, rtol=0, atol=0)


def test_a_case_without_a_name_gets_what_its_files_share_or_their_folder():
    assert raw_record({"image": ["x/017_t1.nii.gz", "x/017_t2.nii.gz"]}, ["t1", "t2"]).case == "017"
    assert raw_record({"image": ["x/t1.nii.gz", "x/t2.nii.gz"]}, ["t1", "t2"]).case == "x"


def test_splits_come_by_name(prepared):
    assert [e["case"] for e in datalist(prepared, "train")] == ["001", "002"]
    assert [e["case"] for e in datalist(prepared, "all")] == ["001", "002", "003", "004"]
    assert datalist(prepared, "validation")[0]["label"].endswith("case.json")


def test_bad_datalists_say_what_to_do(cohort, prepared, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a prepared data set.*scripts\.prepare_data"):
        datalist(cohort, "train")
    with pytest.raises(ValueError, match=r"split valid is not in .* did you mean validation"):
        datalist(prepared, "valid")
    with pytest.raises(FileNotFoundError, match=r"splits_fold0\.json is missing.*--folds"):
        datalist(prepared, "train", "splits_fold0.json")
    (prepared / "splits.json").write_text('{"train": [], "test": ["017"]}')
    with pytest.raises(ValueError, match=r"split train in .* is empty"):
        datalist(prepared, "train")
    with pytest.raises(FileNotFoundError, match=r"case 017: .* is not a prepared case"):
        datalist(prepared, "test")
    with pytest.raises(FileNotFoundError, match="the file is missing"):
        read_datalist(tmp_path / "none.json")
    (tmp_path / "list.json").write_text('{"image": "x"}')
    with pytest.raises(ValueError, match="expected a list of entries"):
        read_datalist(tmp_path / "list.json")


def test_bad_entries_say_what_to_do(cohort, prepared, tmp_path):
    entry = raw_entry(cohort, "001")
    with pytest.raises(ValueError, match=r"case 001: expected 1 images \(flair\), found 2"):
        CaseDataset([entry], ["flair"])[0]
    with pytest.raises(ValueError, match=r"case 001: a raw case .* `cache_dir` is not set"):
        SliceDataset([entry], MODALITIES)
    with pytest.raises(ValueError, match="case 001: the datalist names it twice"):
        SliceDataset([entry, entry], MODALITIES, tmp_path / "cache")
    with pytest.raises(ValueError, match=r"case 001: prepared at 16 pixels, but `spatial_size` is 96"):
        SliceDataset(datalist(prepared, "train"), MODALITIES, spatial_size=96)
    with pytest.raises(ValueError, match="case 002: its slices are 24 pixels wide, those of case 001 16"):
        SliceDataset([*datalist(prepared, "train")[:1], raw_entry(cohort, "002")], MODALITIES, tmp_path / "c")
    with pytest.raises(ValueError, match="the datalist is empty"):
        SliceDataset([], MODALITIES)


def test_training_needs_a_positive_and_a_negative_slice(prepared):
    for tag, missing in ((1, "negative"), (0, "positive"), (-1, "positive")):
        for case in ("001", "002"):
            file = prepared / "cases" / case / "case.json"
            file.write_text(json.dumps({**json.loads(file.read_text()), "tags": [tag] * 6}))
        with pytest.raises(ValueError, match=f"no {missing} slice among the 2 cases"):
            SliceDataset(datalist(prepared, "train"), MODALITIES)
