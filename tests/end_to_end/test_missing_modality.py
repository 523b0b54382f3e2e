"""A case that lacks a modality is predicted and scored all the same, with a warning."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from bundle.inferers import FuseMapsd
from bundle.metrics import read_rows
from tests.conftest import MODALITIES
from tests.running import SIZE, flags, run_here, run_typed


@pytest.fixture
def lacking(raw, tmp_path) -> Path:
    """Cases 003 and 004 as raw scans; 004 has no T1c."""
    for case in ("003", "004"):
        shutil.copytree(raw / case, tmp_path / "scans" / case)
    (tmp_path / "scans" / "004" / "004_t1c.nii.gz").unlink()
    return tmp_path / "scans"


@pytest.fixture
def seen(monkeypatch) -> list[list[bool]]:
    """What reaches the first step of the postprocessing, case by case."""
    found: list[list[bool]] = []
    fuse = FuseMapsd.__call__

    def listen(self, data):
        found.append(data["available"].tolist())
        return fuse(self, data)

    monkeypatch.setattr(FuseMapsd, "__call__", listen)
    return found


def test_a_case_that_lacks_a_file_is_predicted_with_a_warning_on_the_command_line(
    lacking, checkpoint, tmp_path
):
    options = flags(**SIZE, checkpoint=checkpoint, dataset_dir=lacking, output_dir=tmp_path / "run")
    run = run_typed("run", "--config_file", "configs/inference.yaml", *options)
    assert run.returncode == 0, run.stderr
    told = [line for line in run.stderr.splitlines() if "is missing" in line]
    assert len(told) == 1, run.stderr
    assert "case 004: modality t1c is missing (looked for 004_t1c.nii.gz in" in told[0]
    assert "the prediction is made from flair alone" in told[0]
    for case in ("003", "004"):
        mask, scan = (
            nib.load(path)
            for path in (tmp_path / "run/masks" / f"{case}.nii.gz", lacking / case / f"{case}_flair.nii.gz")
        )
        assert mask.shape == scan.shape
        assert np.array_equal(mask.affine, scan.affine)


def test_the_postprocessing_learns_which_modalities_a_case_has(lacking, checkpoint, tmp_path, seen):
    where = {"dataset_dir": str(lacking), "output_dir": str(tmp_path / "run"), "checkpoint": checkpoint}
    with pytest.warns(UserWarning, match="case 004: modality t1c is missing"):
        run_here("inference", **SIZE, **where)
    assert seen == [[True, True], [True, False]]


@pytest.mark.parametrize("modality", MODALITIES)
def test_any_one_modality_is_scored_on_a_prepared_data_set(modality, dataset_dir, checkpoint, tmp_path, seen):
    where = {"dataset_dir": str(dataset_dir), "output_dir": str(tmp_path), "checkpoint": checkpoint}
    run_here("evaluate", **SIZE, **where, available=modality)
    assert seen == [[name == modality for name in MODALITIES]]
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.reader(file) if row and "fused" in row]
    assert [row[0] for row in rows] == ["004"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["available"] == [modality]
    assert f"# Modalities used: {modality}.\n" in (tmp_path / "metrics.csv").read_text()


def test_a_branch_that_is_missing_has_no_row_and_no_file(lacking, checkpoint, tmp_path):
    where = {"dataset_dir": str(lacking), "output_dir": str(tmp_path / "run"), "checkpoint": checkpoint}
    with pytest.warns(UserWarning, match="case 004: modality t1c is missing"):
        run_here("inference", **SIZE, **where, save_also="masks,cams")
    for kind in ("masks", "cams"):
        found = {path.name for path in (tmp_path / "run" / kind / "t1c").iterdir()}
        assert found == {"003.nii.gz"}
        assert len(list((tmp_path / "run" / kind / "flair").iterdir())) == 2
    with pytest.warns(UserWarning, match="case 004: modality t1c is missing"):
        run_here("evaluate", **SIZE, **where, also_fuse="flair-t1c")
    rows = read_rows(tmp_path / "run" / "metrics.csv")
    assert [(row.case, row.map) for row in rows] == [
        *(("003", name) for name in ("flair", "t1c", "flair-t1c", "fused")),
        *(("004", name) for name in ("flair", "flair-t1c", "fused")),
    ]
    maps = json.loads((tmp_path / "run" / "summary.json").read_text())["maps"]
    assert {name: found["n"] for name, found in maps.items()} == {
        **{"flair": 2, "t1c": 1},
        **{"flair-t1c": 2, "fused": 2},
    }


def test_raw_scans_with_one_modality_give_what_the_prepared_ones_give(raw, dataset_dir, checkpoint, tmp_path):
    for file in shutil.copytree(raw, tmp_path / "scans").rglob("*_t1c.nii.gz"):
        file.unlink()
    for name, folder in (("raw", tmp_path / "scans"), ("prepared", dataset_dir)):
        where = {"dataset_dir": str(folder), "output_dir": str(tmp_path / name), "checkpoint": checkpoint}
        run_here("inference", **SIZE, **where, available="flair", split="all")
    for case in ("001", "002", "003", "004"):
        one, other = (nib.load(tmp_path / name / "masks" / f"{case}.nii.gz") for name in ("raw", "prepared"))
        assert np.array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj)), case


def test_with_early_fusion_zeros_go_in(dataset_dir, tmp_path):
    where = {"dataset_dir": str(dataset_dir), "output_dir": str(tmp_path), "early_fusion": True}
    run_here("train", **{**SIZE, **where, "epochs": 1, "batch_size": 4})
    made = run_here("inference", **SIZE, **where, available="t1c")
    (item,) = made.parser.get_parsed_content("evaluator").state.batch
    assert not torch.as_tensor(item["image"])[0].any()
    assert (tmp_path / "masks" / "004.nii.gz").is_file()
