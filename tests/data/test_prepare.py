"""Preparing a cohort: resumable, whole cases only, errors that say what to do, and masks kept apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from itertools import chain
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from bundle.data.cache import PreparedCase
from bundle.data.case_job import CaseJob, DiskFullError
from bundle.data.datalists import recorded_reading
from bundle.data.prepare import Preparation, PrepareOptions, prepare_cohort
from bundle.data.readers import find_brats
from bundle.data.sources import prepare_source
from scripts.prepare_data import prepare_data
from tests.conftest import make_scan, write_case_files

ROOT = Path(__file__).parents[2]
MODALITIES = ["flair", "t1c"]
OPTIONS = PrepareOptions(MODALITIES, spatial_size=16, workers=1)


def prepare(cohort: Path, output_dir: Path, **changes):
    options = replace(OPTIONS, **changes)
    return prepare_cohort(
        find_brats(cohort, options.modalities), output_dir, options, "brats", progress=False
    )


def tags_csv(folder: Path, text: str) -> Path:
    (folder / "tags.csv").write_text(text)
    return folder / "tags.csv"


def tags_of(output_dir: Path, case: str) -> list[int]:
    return PreparedCase.open(output_dir / "cases" / case).tags.tolist()


def replace_masks_by_noise(cohort: Path) -> None:
    for path in cohort.rglob("*_seg.nii.gz"):
        mask = nib.load(path)
        noise = np.random.default_rng(len(path.name)).integers(0, 2, mask.shape).astype(np.uint8)
        nib.save(nib.Nifti1Image(noise, mask.affine), path)


def test_a_prepared_data_set_has_an_index_splits_cases_and_masks_apart(cohort, prepared):
    described = json.loads((prepared / "dataset.json").read_text())
    assert described == {
        "format": 1,
        "source": "brats",
        "modalities": MODALITIES,
        "spatial_size": 16,
        "cases": ["001", "002", "003", "004"],
    }
    assert json.loads((prepared / "splits.json").read_text())["train"] == ["001", "002"]
    assert sorted(p.name for p in prepared.iterdir()) == [
        "cases",
        "dataset.json",
        "masks",
        "splits.json",
        "splits_asked.json",
    ]
    assert tags_of(prepared, "001") == [0, 0, 1, 1, 0, 0]
    mask, source = (nib.load(p) for p in (prepared / "masks/001.nii.gz", cohort / "001/001_seg.nii.gz"))
    np.testing.assert_array_equal(mask.dataobj, source.dataobj)
    np.testing.assert_array_equal(mask.affine, source.affine)


def test_neither_tags_nor_masks_are_needed_to_predict(cohort, tmp_path):
    for mask in cohort.rglob("*_seg.nii.gz"):
        mask.unlink()
    made = prepare(cohort, tmp_path / "out")
    assert made.cases == ["001", "002", "003", "004"]
    assert "configs/inference.yaml" in made.summary()
    assert tags_of(tmp_path / "out", "001") == [-1] * 6
    assert not (tmp_path / "out" / "masks").exists()


def test_few_cases_are_all_for_testing(cohort, tmp_path):
    records = find_brats(cohort, MODALITIES)[:1]
    made = prepare_cohort(records, tmp_path / "out", replace(OPTIONS, tags_from_masks=True), progress=False)
    assert made.splits == [{"train": [], "validation": [], "test": ["001"]}]


def test_tags_come_from_a_csv(cohort, splits, tmp_path):
    tags = tags_csv(tmp_path, "case,first,last\n001,3,4\n002,3,3\n003,2,2\n")
    prepare(cohort, tmp_path / "out", tags=tags, first_slice=1, splits=splits)
    assert tags_of(tmp_path / "out", "001") == [0, 0, 1, 1, 0, 0]
    assert tags_of(tmp_path / "out", "004") == [-1] * 6


def test_masks_of_noise_change_no_byte_of_the_cases(cohort, splits, tmp_path, contents):
    tags = tags_csv(tmp_path, "case,first,last\n001,3,4\n002,3,3\n003,2,2\n")
    for name in ("a", "b"):
        prepare(cohort, tmp_path / name, tags=tags, splits=splits)
        replace_masks_by_noise(cohort)
    prepare(cohort, tmp_path / "a", tags=tags, splits=splits)
    assert contents(tmp_path / "a" / "cases") == contents(tmp_path / "b" / "cases")
    assert contents(tmp_path / "a" / "masks")


def test_masks_replaced_after_tagging_reach_nothing(prepared, contents):
    before = contents(prepared / "cases")
    replace_masks_by_noise(prepared / "masks")
    for mask in (prepared / "masks").iterdir():
        mask.write_bytes(b"noise")
    assert contents(prepared / "cases") == before


def test_what_is_current_is_not_read_again(cohort, prepared, splits, monkeypatch):
    monkeypatch.setattr("bundle.data.case_job.read_case", lambda *a, **k: pytest.fail("read again"))
    made = prepare(cohort, prepared, tags_from_masks=True, splits=splits)
    assert made.cases == ["001", "002", "003", "004"]


def test_new_tags_need_no_reading(cohort, splits, tmp_path, monkeypatch):
    text = "case,first,last\n001,2,3\n002,2,3\n003,2,3\n"
    prepare(cohort, tmp_path / "out", tags=tags_csv(tmp_path, text), splits=splits)
    monkeypatch.setattr("bundle.data.case_job.read_case", lambda *a, **k: pytest.fail("read again"))
    changed = tags_csv(tmp_path, text.replace("001,2,3", "001,5,5"))
    prepare(cohort, tmp_path / "out", tags=changed, splits=splits)
    assert tags_of(tmp_path / "out", "001") == [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("change", ["image", "mask", "modalities", "spatial_size"])
def test_what_changed_is_made_again(cohort, prepared, splits, change, monkeypatch):
    again = []
    original = CaseJob._read_and_write
    monkeypatch.setattr(
        CaseJob, "_read_and_write", lambda job: (again.append(job.record.case), original(job))
    )
    changes = {"modalities": {"modalities": ["t1c", "flair"]}, "spatial_size": {"spatial_size": 8}}
    if change == "image":
        path = cohort / "002" / "002_flair.nii.gz"
        os.utime(path, ns=(1, 1))
    if change == "mask":
        os.utime(cohort / "002" / "002_seg.nii.gz", ns=(1, 1))
    prepare(cohort, prepared, tags_from_masks=True, splits=splits, **changes.get(change, {}))
    assert again == (["002"] if change in ("image", "mask") else ["001", "002", "003", "004"])


def write_mask(cohort: Path, case: str, positions: tuple[int, ...]) -> Path:
    path = cohort / case / f"{case}_seg.nii.gz"
    scan = nib.load(path)
    mask = np.zeros(scan.shape, np.uint8)
    mask[5:10, 6:12, positions] = 1
    nib.save(nib.Nifti1Image(mask, scan.affine), path)
    return path


def test_tags_follow_a_corrected_mask_even_after_a_kill_between_the_two_writes(
    cohort, prepared, splits, monkeypatch
):
    write_mask(cohort, "002", (4,))
    with monkeypatch.context() as killed:
        killed.setattr(
            "bundle.data.case_job.write_case", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            prepare(cohort, prepared, tags_from_masks=True, splits=splits)
    prepare(cohort, prepared, tags_from_masks=True, splits=splits)
    assert tags_of(prepared, "002") == [0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize("tagged_by_masks", [True, False])
def test_another_mask_of_the_same_age_is_noticed(cohort, splits, tmp_path, tagged_by_masks):
    tags = tags_csv(tmp_path, "case,first,last\n001,3,4\n002,3,3\n003,2,2\n")
    options = {"tags_from_masks": True} if tagged_by_masks else {"tags": tags}
    path = cohort / "002" / "002_seg.nii.gz"
    os.utime(path, ns=(1, 1))
    prepare(cohort, tmp_path / "out", splits=splits, **options)
    before = tags_of(tmp_path / "out", "002")
    os.utime(write_mask(cohort, "002", (4,)), ns=(1, 1))
    prepare(cohort, tmp_path / "out", splits=splits, **options)
    stored = np.asarray(nib.load(tmp_path / "out" / "masks" / "002.nii.gz").dataobj)
    assert np.flatnonzero(stored.any((0, 1))).tolist() == [4]
    assert tags_of(tmp_path / "out", "002") == ([0, 0, 0, 0, 1, 0] if tagged_by_masks else before)


def test_a_run_that_stops_among_changed_cases_leaves_no_index(cohort, prepared, splits):
    (cohort / "003" / "003_t1c.nii.gz").write_bytes(b"no scan")
    with pytest.raises(ValueError, match="case 003"):
        prepare(cohort, prepared, tags_from_masks=True, splits=splits, spatial_size=8)
    assert not (prepared / "dataset.json").exists()


def test_a_new_case_that_fails_leaves_the_index_of_the_others(cohort, prepared):
    splits_of_all = {"train": ["001", "002"], "validation": ["003"], "test": ["004", "005"]}
    (cohort / "splits.json").write_text(json.dumps(splits_of_all))
    add_cases(cohort, range(5, 6))
    (cohort / "005" / "005_t1c.nii.gz").unlink()
    before = (prepared / "dataset.json").read_bytes()
    with pytest.raises(FileNotFoundError, match="case 005"):
        prepare(cohort, prepared, tags_from_masks=True, splits=cohort / "splits.json")
    assert (prepared / "dataset.json").read_bytes() == before


def test_split_files_of_the_user_stay(cohort, prepared, splits):
    for name in ("splits_mine.json", "splits_fold_mine.json", "splits_fold7.json"):
        (prepared / name).write_text("{}")
    prepare(cohort, prepared, tags_from_masks=True, splits=splits)
    assert (prepared / "splits_mine.json").exists()
    assert (prepared / "splits_fold_mine.json").exists()
    assert not (prepared / "splits_fold7.json").exists()  # of an earlier number of folds


def add_cases(cohort: Path, numbers: range) -> None:
    for number in numbers:
        write_case_files(cohort / f"{number:03d}", f"{number:03d}", *make_scan(number))


@pytest.mark.parametrize("folds", [None, 2])
def test_new_cases_move_no_earlier_one_to_another_split(cohort, tmp_path, folds):
    first = prepare(cohort, tmp_path / "out", folds=folds)
    add_cases(cohort, range(5, 11))
    (cohort / "000").mkdir()  # sorts before all others
    write_case_files(cohort / "000", "000", *make_scan(0))
    second = prepare(cohort, tmp_path / "out", folds=folds)
    assert len(second.cases) == 11
    for before, after in zip(first.splits, second.splits, strict=True):
        assert all(set(before[name]) <= set(after[name]) for name in before)
        assert sorted(chain(*after.values())) == second.cases
    if folds:
        assert sorted(case for fold in second.splits for case in fold["test"]) == second.cases
    assert "Warning" not in second.summary()


def test_another_seed_draws_anew_and_warns(cohort, tmp_path):
    add_cases(cohort, range(5, 11))
    first = prepare(cohort, tmp_path / "out")
    second = prepare(cohort, tmp_path / "out", seed=1)
    moved = {*first.splits[0]["train"], *first.splits[0]["validation"]} & {*second.splits[0]["test"]}
    assert moved
    assert f"Warning: the splits are drawn anew, and {len(moved)} cases" in second.summary()
    assert "Warning" not in prepare(cohort, tmp_path / "out", seed=1).summary()


def test_the_scans_of_one_patient_stay_together_as_the_table_says(cohort, tmp_path):
    add_cases(cohort, range(5, 9))
    table = tmp_path / "patients.csv"
    table.write_text("case,patient\n001,a\n002,a\n003,b\n004,b\n005,c\n006,c\n")
    for seed in range(4):
        (split,) = prepare(cohort, tmp_path / "out", patients=table, seed=seed).splits
        for pair in (("001", "002"), ("003", "004"), ("005", "006")):
            assert any(set(pair) <= set(cases) for cases in split.values())


def test_a_table_that_joins_what_was_parted_draws_anew(cohort, tmp_path):
    (split,) = prepare(cohort, tmp_path / "out").splits
    table = tmp_path / "patients.csv"
    pair = (split["train"][0], split["test"][0])
    table.write_text("case;patient\n" + "".join(f"{case};a\n" for case in pair))
    (split,) = prepare(cohort, tmp_path / "out", patients=table).splits
    assert any(set(pair) <= set(cases) for cases in split.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,subject\n001,a\n", r"the header should be case,patient \(found case,subject\)"),
        ("case,patient\n1,a\n", "row 2: case 1 is not in the data set"),
        ("case,patient\n001,\n", "row 2: should give a case and its patient"),
        ("case,patient\n001,a\n001,b\n", r"row 3: case 001 should have one patient \(found a and b\)"),
    ],
)
def test_a_bad_table_of_patients_is_named(cohort, tmp_path, text, message):
    (tmp_path / "patients.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        prepare(cohort, tmp_path / "out", patients=tmp_path / "patients.csv")


def test_a_reference_need_not_be_among_the_modalities(cohort, tmp_path):
    patterns = {"flair": "{case}/*_flair.nii.gz", "t1c": "{case}/*_t1c.nii.gz"}
    options = replace(OPTIONS, modalities=["t1c"], reference="flair")
    prepare_source("folder", tmp_path / "a", options, cohort, patterns, progress=False)
    prepare_source("brats", tmp_path / "b", options, cohort, progress=False)
    for name in "ab":
        assert PreparedCase.open(tmp_path / name / "cases" / "001").modalities == ["t1c"]
        path = cohort / "001" / "001_flair.nii.gz"
        os.utime(path, ns=(1, 1))
    job = CaseJob(find_brats(cohort, ["t1c"], "flair")[0], tmp_path / "b", ("t1c",), 16, "flair")
    assert job.needs_reading()  # its grid may have changed


@pytest.mark.parametrize(("size", "nearest"), [(16, None), (21, 24), (30, 32), (3, 8)])
def test_a_size_that_networks_cannot_halve_is_warned_of(cohort, tmp_path, size, nearest):
    summary = prepare(cohort, tmp_path / "out", spatial_size=size).summary()
    assert ("Warning" in summary) == (nearest is not None)
    if nearest:
        assert f"slices of {size} pixels are no multiple of 8" in summary
        assert f"--spatial_size {nearest}." in summary


def test_an_interrupted_run_goes_on_and_ends_as_an_undisturbed_one(
    cohort, prepared, splits, tmp_path, monkeypatch, contents
):
    def pull_the_plug(job):
        if job.record.case == "003":
            (job.output_dir / ".partial" / "half-003").mkdir(parents=True)
            raise KeyboardInterrupt
        original(job)

    original = CaseJob.run
    out = tmp_path / "out"
    monkeypatch.setattr(CaseJob, "run", pull_the_plug)
    with pytest.raises(KeyboardInterrupt):
        prepare(cohort, out, tags_from_masks=True, splits=splits)
    monkeypatch.setattr(CaseJob, "run", original)
    assert sorted(p.name for p in (out / "cases").iterdir()) == ["001", "002"]
    assert not (out / "dataset.json").exists()
    prepare(cohort, out, tags_from_masks=True, splits=splits)
    assert contents(out) == contents(prepared)


def test_processes_change_nothing(cohort, prepared, splits, tmp_path, contents):
    prepare(cohort, tmp_path / "out", tags_from_masks=True, splits=splits, workers=2)
    assert contents(tmp_path / "out") == contents(prepared)


def test_the_default_stops_at_a_bad_case_and_keeps_the_others(cohort, tmp_path):
    (cohort / "003" / "003_t1c.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match="case 003: modality t1c is missing"):
        prepare(cohort, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out" / "cases").iterdir()) == ["001", "002"]


def test_skipping_prepares_the_rest_and_lists_what_was_left_out(cohort, tmp_path):
    (cohort / "003" / "003_t1c.nii.gz").write_bytes(b"no scan")
    made = prepare(cohort, tmp_path / "out", on_error="skip")
    assert made.cases == ["001", "002", "004"]
    assert "003" not in {case for cases in made.splits[0].values() for case in cases}
    assert "1 cases were left out:\n  003: case 003: " in made.summary()
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["cases"] == made.cases


def test_a_slice_out_of_range_belongs_to_its_case(cohort, splits, tmp_path):
    tags = tags_csv(tmp_path, "case,slice,tag\n001,2,1\n001,4,0\n002,6,1\n003,2,1\n003,4,0\n")
    with pytest.raises(ValueError, match="case 002: slices should lie in 0 to 5"):
        prepare(cohort, tmp_path / "out", tags=tags, splits=splits)
    made = prepare(cohort, tmp_path / "out", tags=tags, splits=splits, on_error="skip")
    assert list(made.left_out) == ["002"]


def test_wrong_tags_and_splits_fail_before_anything_is_read(cohort, splits, tmp_path, monkeypatch):
    monkeypatch.setattr("bundle.data.case_job.read_case", lambda *a, **k: pytest.fail("read"))
    with pytest.raises(ValueError, match="case 17 is not in the data set"):
        prepare(cohort, tmp_path / "out", tags=tags_csv(tmp_path, "case,tag\n17,0\n"))
    splits.write_text(json.dumps({"train": ["001", "002"], "validation": ["002", "003"], "test": ["004"]}))
    with pytest.raises(ValueError, match="002"):
        prepare(cohort, tmp_path / "out", splits=splits)


def test_training_and_validation_need_both_tags(cohort, splits, tmp_path):
    tags = tags_csv(tmp_path, "case,slice,tag\n001,2,1\n001,4,0\n003,2,1\n003,0,0\n")  # slice 0 is blank
    with pytest.raises(ValueError, match=r"split validation .* at least one negative slice"):
        prepare(cohort, tmp_path / "out", tags=tags, splits=splits)


def test_tags_from_masks_need_a_mask_and_no_csv(cohort, tmp_path):
    (cohort / "001" / "001_seg.nii.gz").unlink()
    with pytest.raises(ValueError, match="case 001: --tags_from_masks needs a mask, found none"):
        prepare(cohort, tmp_path / "out", tags_from_masks=True)
    with pytest.raises(ValueError, match="--tags and --tags_from_masks were both given"):
        PrepareOptions(MODALITIES, tags=Path("tags.csv"), tags_from_masks=True)


def test_folds_have_files_of_their_own(cohort, tmp_path):
    made = prepare(cohort, tmp_path / "out", folds=2)
    folds = [json.loads((tmp_path / "out" / f"splits_fold{k}.json").read_text()) for k in range(2)]
    assert folds == made.splits
    assert sorted(folds[0]["test"] + folds[1]["test"]) == made.cases


def test_a_disk_too_small_for_the_cases_to_come_stops_the_run(cohort, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(100, 99, 1))
    with pytest.raises(DiskFullError, match=r"3 more cases need about .* GB, but 0\.0 GB are free in .*out"):
        prepare(cohort, tmp_path / "out", on_error="skip")


def test_a_full_disk_is_named_and_leaves_whole_cases(cohort, tmp_path, monkeypatch):
    def full(path, array):
        if "002" in str(path):
            raise OSError(28, "No space left on device")
        original(path, array)

    original = np.save
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DiskFullError, match=r"case 002: the disk of .* is full"):
        prepare(cohort, tmp_path / "out", on_error="skip")
    assert [p.name for p in (tmp_path / "out" / "cases").iterdir()] == ["001"]


def test_a_phantom_is_made_once_and_prepared_like_any_scan(tmp_path, capsys):
    arguments = {
        "output_dir": str(tmp_path),
        "modalities": "flair",
        "subjects": "1,1,1",
        "spacing_mm": "6",
        "spatial_size": "24",
        "workers": "1",
    }
    assert prepare_data("phantom", **arguments) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("Next: python -m scripts.run_chain --dataset_dir ")
    assert last.endswith(" --output_dir R --modalities flair")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nii.gz")}
    assert prepare_data("phantom", **arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nii.gz")} == before
    splits = json.loads((tmp_path / "splits.json").read_text())
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [1, 1, 1]
    assert 1 in tags_of(tmp_path, splits["train"][0])
    with pytest.raises(ValueError, match="holds another or an unfinished phantom"):
        prepare_data("phantom", **{**arguments, "subjects": "2,1,1"})


@pytest.mark.parametrize("tagged", [True, False])
def test_without_tags_it_says_so_and_the_next_command_can_be_pasted(cohort, tmp_path, tagged, capsys):
    given = {"modalities": "flair,t1c", "spatial_size": "16", "workers": "1", "fractions": "0.5,0.25,0.25"}
    given |= {"tags_from_masks": "True"} if tagged else {}
    output_dir = tmp_path / "my data"
    assert prepare_data("brats", input_dir=str(cohort), output_dir=str(output_dir), **given) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"--dataset_dir '{output_dir}' " in lines[-1]
    told = "No slice is tagged: enough to predict and score; to train, give --tags or --tags_from_masks"
    assert (told in lines) is not tagged


def test_where_there_is_no_chain_the_card_tells_what_is_next(tmp_path, monkeypatch):
    monkeypatch.setattr("bundle.data.prepare.CHAIN", tmp_path / "run_chain.py")  # a packed bundle has none
    last = Preparation(tmp_path, []).summary().splitlines()[-1]
    assert last == f"Next: the commands in docs/README.md, with {tmp_path} as D"


def test_a_folder_is_read_by_patterns_given_as_text(cohort, tmp_path):
    patterns = (
        "{flair: '{case}/*_flair.nii.gz', t1c: '{case}/*_t1c.nii.gz', foreground: '{case}/*_seg.nii.gz'}"
    )
    status = prepare_data(
        "folder", input_dir=str(cohort), output_dir=str(tmp_path / "out"), patterns=patterns, workers="1"
    )
    assert status == 0
    case = PreparedCase.open(tmp_path / "out" / "cases" / "001")
    assert case.modalities == MODALITIES
    assert case.blank.tolist() == [True, True, False, False, True, True]
    assert recorded_reading(tmp_path / "out") == {"patterns": yaml.safe_load(patterns)}


def test_the_grid_that_scans_were_resampled_onto_is_recorded(cohort, tmp_path):
    prepare_data(
        "brats",
        input_dir=str(cohort),
        output_dir=str(tmp_path / "out"),
        modalities="flair,t1c",
        reference="t1c",
        affines_from_reference="true",
        workers="1",
    )
    assert recorded_reading(tmp_path / "out") == {"reference": "t1c", "affines_from_reference": True}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "brat"}, r"source 'brat' is unknown; did you mean brats\?"),
        ({"source": "brats"}, "source brats: --input_dir is missing"),
        ({"source": "brats", "input_dir": "x", "output_dir": None}, "--output_dir is missing"),
        ({"source": "folder", "input_dir": "x"}, "source folder: --patterns is missing"),
        ({"source": "brats", "patterns": "{flair: x}"}, "--patterns belongs to the source folder"),
        ({"source": "brats", "download": "Task05_Prostate"}, "--download belongs to the source decathlon"),
        ({"source": "folder", "patterns": "flair"}, "--patterns is 'flair', expected a mapping"),
        ({"source": "brats", "workers": "many"}, "--workers is 'many', expected a whole number"),
        ({"source": "brats", "tags_from_masks": "yes"}, "it is a switch"),
        ({"source": "brats", "on_error": "ignore"}, "expected stop or skip"),
    ],
)
def test_wrong_arguments_say_what_is_expected(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        prepare_data(**{"output_dir": str(tmp_path), **arguments})


def test_decathlon_is_downloaded_by_monai_then_prepared(tmp_path, monkeypatch, cohort):
    def fetched(task, output_dir):
        folder = Path(output_dir) / task
        (folder / "imagesTr").mkdir(parents=True)
        both = [nib.load(cohort / "001" / f"001_{m}.nii.gz") for m in MODALITIES]
        stacked = np.stack([np.asarray(image.dataobj) for image in both], axis=-1)
        nib.save(nib.Nifti1Image(stacked, both[0].affine), folder / "imagesTr" / "p_01.nii.gz")
        described = {
            "modality": {"0": "T2", "1": "ADC"},
            "training": [{"image": "./imagesTr/p_01.nii.gz"}],
        }
        (folder / "dataset.json").write_text(json.dumps(described))
        return folder

    monkeypatch.setattr("bundle.data.sources.download_decathlon", fetched)
    made = prepare_source(
        "decathlon", tmp_path / "out", replace(OPTIONS, modalities=[]), tmp_path, download="Task05_Prostate"
    )
    assert PreparedCase.open(tmp_path / "out" / "cases" / made.cases[0]).modalities == ["t2", "adc"]


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "scripts.prepare_data", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def test_the_command_line_prepares_lists_what_it_skipped_and_exits_with_2(cohort, tmp_path):
    (cohort / "003" / "003_t1c.nii.gz").write_bytes(b"no scan")
    arguments = ["brats", f"--input_dir={cohort}", "--output_dir", str(tmp_path / "out")]
    arguments += ["--modalities", "flair,t1c", "--tags_from_masks", "--on_error", "skip", "--workers", "1"]
    ran = command(*arguments, "--spatial_size", "16")
    assert ran.returncode == 2, ran.stderr
    assert "3 cases prepared" in ran.stdout
    assert "003: case 003: " in ran.stdout
    assert "prepare: 100%" in ran.stderr


def test_a_mistyped_flag_stops_before_anything_is_done_and_gets_the_nearest_name(cohort, tmp_path):
    ran = command("brats", f"--input_dir={cohort}", f"--output_dir={tmp_path / 'out'}", "--tag", "tags.csv")
    assert ran.returncode == 1
    assert ran.stderr.strip().endswith("error: flag --tag is unknown; did you mean tags?")
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "out").exists()
