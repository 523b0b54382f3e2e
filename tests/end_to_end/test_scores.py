"""Evaluation writes what one can compute from the saved masks and the truth."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.metrics import read_rows
from tests.conftest import MODALITIES
from tests.running import READING, flags, make_raw, root_cause, run_here, run_typed

CASES = ["001", "002", "003", "004"]


@pytest.fixture(scope="module")
def scored(dataset_dir, checkpoint, tmp_path_factory) -> Path:
    """Evaluation of all prepared cases as a user types it, and the fused masks beside it."""
    folder = tmp_path_factory.mktemp("scored")
    given = {
        **READING,
        "checkpoint": checkpoint,
        "dataset_dir": dataset_dir,
        "output_dir": folder,
        "split": "all",
    }
    run = run_typed("run", "--config_file", "configs/evaluate.yaml", *flags(**given))
    assert run.returncode == 0, run.stderr
    assert "fused" in run.stdout
    run_here("inference", **{key: str(v) if isinstance(v, Path) else v for key, v in given.items()})
    return folder


def test_rows_are_cases_times_maps(scored):
    rows = read_rows(scored / "metrics.csv")
    assert [(row.case, row.map) for row in rows] == [(c, m) for c in CASES for m in (*MODALITIES, "fused")]


def test_fused_dice_is_that_of_the_saved_mask(scored, raw):
    for row in read_rows(scored / "metrics.csv"):
        if row.map == "fused":
            mask = np.asarray(nib.load(scored / "masks" / f"{row.case}.nii.gz").dataobj) == 1
            truth = np.asarray(nib.load(raw / row.case / f"{row.case}_seg.nii.gz").dataobj) > 0
            dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
            assert row.dice == pytest.approx(dice, abs=1e-4)
            assert dice > 0.5


def test_summary_and_picture_are_written(scored):
    summary = json.loads((scored / "summary.json").read_text())
    assert summary["threshold"] == 0.5
    assert summary["available"] is None  # all
    assert summary["mask_steps"] == [
        "maps smoothed 3 mm across slices",
        "fused map's border found anew by the intensities within 20 mm",
    ]
    made = (scored / "metrics.csv").read_text().splitlines()[0]
    assert made == f"# Mask: {', '.join(summary['mask_steps'])}, cam > 0.5."
    assert "fused" in json.dumps(summary)
    assert (scored / "contact_sheet.png").stat().st_size > 1000


def evaluate(checkpoint: str, output_dir: Path, **options) -> None:
    run_here("evaluate", **{**READING, "checkpoint": checkpoint, "output_dir": str(output_dir), **options})


def test_raw_scans_with_masks_score_as_the_prepared_ones(scored, raw, checkpoint, tmp_path):
    evaluate(checkpoint, tmp_path, dataset_dir=str(raw))
    assert (tmp_path / "metrics.csv").read_bytes() == (scored / "metrics.csv").read_bytes()


def test_a_datalist_with_masks_scores_as_well(scored, raw, checkpoint, tmp_path):
    entries = [
        {
            "image": [str(raw / case / f"{case}_{modality}.nii.gz") for modality in MODALITIES],
            "label": str(raw / case / f"{case}_seg.nii.gz"),
            "case": case,
        }
        for case in CASES
    ]
    (tmp_path / "cases.json").write_text(json.dumps(entries))
    evaluate(checkpoint, tmp_path, datalist=str(tmp_path / "cases.json"))
    assert (tmp_path / "metrics.csv").read_bytes() == (scored / "metrics.csv").read_bytes()


def test_the_threshold_comes_from_the_config(scored, raw, checkpoint, tmp_path):
    evaluate(checkpoint, tmp_path, dataset_dir=str(raw), threshold=0.9)
    low, high = read_rows(scored / "metrics.csv"), read_rows(tmp_path / "metrics.csv")
    assert any(a.dice != b.dice for a, b in zip(low, high, strict=True))


def test_what_is_not_done_to_the_maps_is_not_told(raw, checkpoint, tmp_path):
    evaluate(checkpoint, tmp_path, dataset_dir=str(raw), refine=[], smooth_slices_mm=0.0, smooth_plane_mm=2.0)
    assert json.loads((tmp_path / "summary.json").read_text())["mask_steps"] == [
        "maps smoothed 2 mm within slices"
    ]


def test_cases_without_any_mask_are_an_error_at_the_end(checkpoint, tmp_path):
    raw = make_raw(tmp_path / "raw", masks=False)
    with pytest.raises(RuntimeError) as error:
        evaluate(checkpoint, tmp_path, dataset_dir=str(raw))
    assert "none of 4 cases (001 …) has a true mask" in str(root_cause(error.value))


def test_a_case_without_a_mask_is_listed_and_the_others_score_as_before(
    scored, dataset_dir, checkpoint, tmp_path
):
    copy = shutil.copytree(dataset_dir, tmp_path / "prepared")
    (copy / "masks" / "004.nii.gz").unlink()
    evaluate(checkpoint, tmp_path, dataset_dir=str(copy), split="all")
    lines = [(folder / "metrics.csv").read_text().splitlines() for folder in (scored, tmp_path)]
    assert lines[0][:-3] == lines[1][:-3]
    before, rows = read_rows(scored / "metrics.csv"), read_rows(tmp_path / "metrics.csv")
    assert [(row.case, row.empty_truth) for row in rows[-3:]] == [("004", None)] * 3
    assert [row.prediction_ml for row in rows[-3:]] == [row.prediction_ml for row in before[-3:]]
    assert json.loads((tmp_path / "summary.json").read_text())["n_without_mask"] == 1
