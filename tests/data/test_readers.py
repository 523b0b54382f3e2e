"""Folders become records: which file is which modality of which case."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.data import decathlon
from bundle.data.readers import download_decathlon, find_brats, find_cases, find_decathlon, find_folder
from bundle.data.volumes import read_case

REAL = Path(__file__).parents[3] / "shared" / "data"


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def _scan(path: Path, channels: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (4, 4, 3, channels) if channels else (4, 4, 3)
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)


def _brats_case(folder: str, case: str, parts: str, mark: str = "_", ending: str = ".nii.gz") -> list[str]:
    return [f"{folder}{case}/{case}{mark}{part}{ending}" for part in parts.split()]


def _names(records) -> dict[str, dict[str, str]]:
    return {r.case: {name: source.path.name for name, source in r.images.items()} for r in records}


# BraTS


def test_brats_2019_names_give_modalities_mask_and_strata(tmp_path):
    _touch(tmp_path, *_brats_case("HGG/", "BraTS19_A_1", "t1 t1ce t2 flair seg"))
    _touch(tmp_path, *_brats_case("LGG/", "BraTS19_B_1", "t1 t1ce t2 flair seg"))
    first, second = find_brats(tmp_path)
    assert (first.case, first.stratum, second.case, second.stratum) == (
        "BraTS19_A_1",
        "HGG",
        "BraTS19_B_1",
        "LGG",
    )
    assert list(first.images) == ["t1", "t1c", "t2", "flair"]
    assert first.images["t1c"].path.name == "BraTS19_A_1_t1ce.nii.gz"
    assert first.mask is not None
    assert first.mask.name == "BraTS19_A_1_seg.nii.gz"


def test_brats_2023_names_give_the_same_modalities(tmp_path):
    case = "BraTS-GLI-00000-000"
    _touch(tmp_path, *_brats_case("", case, "t1n t1c t2w t2f seg", mark="-", ending=".nii"))
    (record,) = find_brats(tmp_path)
    assert record.case == case
    assert _names([record])[case] == {
        "t1": f"{case}-t1n.nii",
        "t1c": f"{case}-t1c.nii",
        "t2": f"{case}-t2w.nii",
        "flair": f"{case}-t2f.nii",
    }
    assert record.stratum is None


def test_modalities_pick_and_order_and_keep_the_name_that_was_asked_for(tmp_path):
    _touch(tmp_path, *_brats_case("", "BraTS2021_00006", "t1 t1ce t2 flair"))
    (record,) = find_brats(tmp_path, ["T2F", "t1ce"])
    assert list(record.images) == ["T2F", "t1ce"]
    assert record.images["T2F"].path.name == "BraTS2021_00006_flair.nii.gz"


def test_brats_files_may_lie_flat_in_one_folder_in_any_case_order(tmp_path):
    _touch(tmp_path, "B_1_t2.nii.gz", "A_1_t2.nii.gz", "A_1_flair.nii", "B_1_flair.nii", "._A_1_t2.nii.gz")
    assert [r.case for r in find_brats(tmp_path, ["t2", "flair"])] == ["A_1", "B_1"]


def test_an_unknown_brats_modality_names_the_nearest(tmp_path):
    _touch(tmp_path, "A_t2.nii.gz")
    with pytest.raises(ValueError, match="modality flare is not known here; did you mean flair"):
        find_brats(tmp_path, ["flare"])


def test_one_modality_asked_for_twice_is_refused(tmp_path):
    _touch(tmp_path, "A_t2.nii.gz")
    with pytest.raises(ValueError, match="name t2 twice"):
        find_brats(tmp_path, ["t2", "t2w"])


# Decathlon


def _decathlon(root: Path, modality: dict[str, str]) -> Path:
    channels = len(modality) if len(modality) > 1 else 0
    for name in ("imagesTr/case_10.nii.gz", "imagesTr/case_02.nii.gz", "imagesTs/case_03.nii.gz"):
        _scan(root / name, channels)
    _scan(root / "labelsTr/case_02.nii.gz")
    _scan(root / "labelsTr/case_10.nii.gz")
    training = [
        {"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in ("case_10", "case_02")
    ]
    content = {"modality": modality, "training": training, "test": ["./imagesTs/case_03.nii.gz"]}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def test_decathlon_channels_take_their_names_from_dataset_json(tmp_path):
    _decathlon(tmp_path, {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"})
    records = find_decathlon(tmp_path)
    assert [r.case for r in records] == ["case_02", "case_10"]
    assert [(n, s.channel, s.channels) for n, s in records[0].images.items()] == [
        ("flair", 0, 4),
        ("t1w", 1, 4),
        ("t1gd", 2, 4),
        ("t2w", 3, 4),
    ]
    assert records[0].mask == tmp_path / "labelsTr/case_02.nii.gz"


def test_decathlon_takes_the_other_names_of_a_sequence(tmp_path):
    _decathlon(tmp_path, {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"})
    record = find_decathlon(tmp_path, ["t1c", "t2"])[0]
    assert {name: source.channel for name, source in record.images.items()} == {"t1c": 2, "t2": 3}
    assert read_case(record).image[:, 0, 0, 0].tolist() == [2, 3]  # the file counts up along its channels


def test_the_prostate_task_gives_t2_and_adc(tmp_path):
    _decathlon(tmp_path, {"0": "T2", "1": "ADC"})
    assert list(find_decathlon(tmp_path)[0].images) == ["t2", "adc"]


def test_decathlon_test_scans_come_without_masks(tmp_path):
    _decathlon(tmp_path, {"0": "T2", "1": "ADC"})
    records = find_decathlon(tmp_path, sections=("test",))
    assert [(r.case, r.mask) for r in records] == [("case_03", None)]


def test_a_decathlon_task_of_one_modality_has_3d_files(tmp_path):
    _decathlon(tmp_path, {"0": "CT"})
    record = find_decathlon(tmp_path)[0]
    assert record.images["ct"].channel is None
    assert read_case(record).image.shape == (1, 4, 4, 3)


def test_download_asks_monai_for_the_task_and_its_checksum(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(decathlon, "download_and_extract", lambda **given: calls.append(given))
    assert download_decathlon("Task05_Prostate", tmp_path / "d") == tmp_path / "d" / "Task05_Prostate"
    (call,) = calls
    assert call["url"].endswith("/Task05_Prostate.tar")
    assert call["hash_val"] == decathlon.DecathlonDataset.md5["Task05_Prostate"]
    assert call["output_dir"] == tmp_path / "d"


def test_download_fetches_nothing_that_is_there(tmp_path, monkeypatch):
    _touch(tmp_path, "Task05_Prostate/dataset.json")
    monkeypatch.setattr(decathlon, "download_and_extract", lambda **given: pytest.fail("downloaded"))
    download_decathlon("Task05_Prostate", tmp_path)


def test_an_unknown_task_names_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="did you mean Task05_Prostate"):
        download_decathlon("Task05_Prostat", tmp_path)


# Any folder


def test_patterns_give_one_modality_each_in_their_order(tmp_path):
    _touch(tmp_path, "train/017/Flair_x.nii.gz", "train/017/T1c_x.nii.gz", "train/017/OT.nii.gz")
    _touch(tmp_path, "test/018/Flair_x.nii.gz", "test/018/T1c_x.nii.gz", "test/018/brain.nii.gz")
    _touch(tmp_path, "train/017/brain.nii.gz")
    first, second = find_folder(
        tmp_path,
        {
            "t1c": "*/{case}/T1c*.nii.gz",
            "flair": "*/{case}/Flair*.nii.gz",
            "mask": "*/{case}/OT*.nii.gz",
            "foreground": "*/{case}/brain.nii.gz",
        },
    )
    assert (first.case, list(first.images)) == ("017", ["t1c", "flair"])
    assert first.mask == tmp_path / "train/017/OT.nii.gz"
    assert (second.case, second.mask) == ("018", None)
    assert second.foreground == tmp_path / "test/018/brain.nii.gz"


def test_modalities_choose_among_the_patterns(tmp_path):
    _touch(tmp_path, "a_t1.mha", "a_t2.mha")
    patterns = {"t1": "{case}_t1.mha", "t2": "{case}_t2.mha"}
    assert list(find_folder(tmp_path, patterns, ["t2"])[0].images) == ["t2"]
    with pytest.raises(
        ValueError, match=r"modality t3 has no pattern; if .* give them by `--modalities`; did you mean"
    ):
        find_folder(tmp_path, patterns, ["t3"])


def test_the_case_id_may_stand_in_folder_and_file_and_must_agree(tmp_path):
    _touch(tmp_path, "07/07_t2.nii.gz", "08/09_t2.nii.gz")
    assert [r.case for r in find_folder(tmp_path, {"t2": "{case}/{case}_t2.nii.gz"})] == ["07"]


def test_a_folder_in_which_nothing_matches_is_told_of(tmp_path):
    _touch(tmp_path, "a/07/t1.nii", "b/07/t2.nii", "b/08/T2.nii", "a/09/t1.nii", "b/notes.txt")
    with pytest.warns(UserWarning, match="1 folders of .* passed over: 08; if they should be cases, correct"):
        records = find_folder(tmp_path, {"t1": "a/{case}/t1.nii", "t2": "b/{case}/t2.nii"})
    assert [record.case for record in records] == ["07", "09"]


@pytest.mark.parametrize("pattern", ["{case}_t1.nii", "**/{case}/t1.nii", "x/{case}_a/t1.nii", "{case}/"])
def test_folders_that_are_no_cases_are_not_told_of(tmp_path, pattern, recwarn):
    _touch(tmp_path, "7_t1.nii", "x/7/t1.nii", "x/7_a/t1.nii", "x/8_b/t1.nii")
    find_folder(tmp_path, {"t1": pattern})
    assert not recwarn


def test_the_case_id_is_the_shortest_that_fits(tmp_path):
    _touch(tmp_path, "patient07_a_b_T1.nii.gz")
    assert [r.case for r in find_folder(tmp_path, {"t1": "{case}_*_T1.nii.gz"})] == ["patient07"]


def test_two_stars_cross_any_number_of_folders_and_brackets_choose(tmp_path):
    _touch(tmp_path, "x/y/1_T2.nii.gz", "2_t2.nii.gz", "3_p2.nii.gz")
    assert [r.case for r in find_folder(tmp_path, {"t2": "**/{case}_[tT]2.nii.gz"})] == ["1", "2"]
    assert [r.case for r in find_folder(tmp_path, {"t2": "{case}_[!tT]2.nii.gz"})] == ["3"]


@pytest.mark.parametrize("pattern", ["{case}/T2/", "{case}/T2"])
def test_a_folder_counts_as_one_series(tmp_path, pattern):
    _touch(tmp_path, "017/T2/1.dcm", "017/T2/2.dcm")
    (record,) = find_folder(tmp_path, {"t2": pattern})
    assert record.images["t2"].path == tmp_path / "017" / "T2"


# Raw cases for inference, whatever their layout


def test_patterns_come_first(tmp_path):
    _touch(tmp_path, "A_t2.nii.gz", "A_flair.nii.gz", "x1.nii.gz")
    assert [r.case for r in find_cases(tmp_path, ["t2"], {"t2": "x{case}.nii.gz"})] == ["1"]


def test_brats_names_are_recognised(tmp_path):
    _touch(tmp_path, "A/A_t2.nii.gz", "A/A_flair.nii.gz")
    assert _names(find_cases(tmp_path, ["flair", "t2"])) == {
        "A": {"flair": "A_flair.nii.gz", "t2": "A_t2.nii.gz"}
    }


def test_a_dataset_json_gives_training_and_test_scans(tmp_path):
    _decathlon(tmp_path, {"0": "T2", "1": "ADC"})
    assert [r.case for r in find_cases(tmp_path, ["adc", "t2"])] == ["case_02", "case_03", "case_10"]


def test_plain_4d_files_take_the_modalities_in_order(tmp_path):
    _scan(tmp_path / "one.nii.gz", channels=2)
    _scan(tmp_path / "one_prediction.nii.gz")  # 3D: no case
    (record,) = find_cases(tmp_path, ["t2", "adc"])
    assert record.case == "one"
    assert [(s.channel, s.channels) for s in record.images.values()] == [(0, 2), (1, 2)]


def test_plain_3d_files_are_cases_of_one_modality(tmp_path):
    _scan(tmp_path / "one.nii.gz")
    _scan(tmp_path / "two.nii")
    assert [r.case for r in find_cases(tmp_path, ["t2"])] == ["one", "two"]


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason="the real scans in ../shared/data are absent")
class TestRealFolders:
    def test_brats2021_lies_flat(self):
        (record,) = find_brats(REAL / "brats2021")
        assert record.case == "BraTS2021_00006"
        assert all(source.path.is_file() for source in record.images.values())
        assert record.mask is not None

    def test_open_ms_by_patterns(self):
        patterns = {n: f"{{case}}/{n.upper()}_N4*.nii.gz" for n in ("t1", "t1post", "t2", "flair")}
        records = find_folder(REAL / "open_ms", {**patterns, "mask": "{case}/GOLD*.nii.gz"})
        assert [r.case for r in records] == ["patient07", "patient19", "patient26"]
        assert all(r.mask and s.path.is_file() for r in records for s in r.images.values())
