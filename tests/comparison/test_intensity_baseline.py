"""A threshold is scored by the code and in the files of an evaluation; no rule but the oracle reads a mask for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.comparison.intensity_baseline import RULES, score_baseline
from bundle.metrics import read_rows
from tests.running import ROOT


def replace_masks_by_noise(dataset_dir: Path) -> None:
    for file in (dataset_dir / "masks").glob("*.nii.gz"):
        image = nib.load(file)
        noise = np.random.default_rng(0).integers(0, 2, image.shape, dtype=np.uint8)
        nib.save(nib.Nifti1Image(noise, image.affine), file)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_writes_what_an_evaluation_writes(rule, prepared, tmp_path):
    summary = score_baseline(rule, prepared, tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        *("metrics.csv", "summary.json", "contact_sheet.png", "rule.json")
    }
    rows = read_rows(tmp_path / "out" / "metrics.csv")
    names = ["oracle_flair", "oracle_t1c"] if rule == "oracle" else ["flair", "t1c"]
    assert [(row.case, row.map) for row in rows] == [("004", name) for name in [*names, "fused"]]
    # the lesion is 300 brighter than tissue of 100 to 200; resizing 24 to 16 pixels and back blurs its border
    assert summary["maps"]["fused"]["dice"]["mean"] > 0.8


@pytest.mark.parametrize("rule", ["otsu", "training"])
def test_masks_of_noise_change_no_threshold_and_no_mask(rule, prepared, tmp_path):
    noisy = shutil.copytree(prepared, tmp_path / "noisy")
    replace_masks_by_noise(noisy)
    for folder, out in ((prepared, tmp_path / "a"), (noisy, tmp_path / "b")):
        score_baseline(rule, folder, out)
    assert (tmp_path / "a" / "rule.json").read_bytes() == (tmp_path / "b" / "rule.json").read_bytes()
    volumes = [[row.prediction_ml for row in read_rows(tmp_path / x / "metrics.csv")] for x in "ab"]
    dice = [[row.dice for row in read_rows(tmp_path / x / "metrics.csv")] for x in "ab"]
    assert volumes[0] == volumes[1]
    assert dice[0] != dice[1]


def test_the_oracle_names_itself_and_what_it_looked_at(prepared, tmp_path):
    score_baseline("oracle", prepared, tmp_path, "flair")
    described = json.loads((tmp_path / "rule.json").read_text())
    assert "an upper bound, no result" in described["chosen_by"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["threshold"] == "oracle"
    assert "oracle_flair" in summary["maps"]
    assert "(oracle)" in (tmp_path / "metrics.csv").read_text().splitlines()[0]
    dice = read_rows(tmp_path / "metrics.csv")[0].dice
    assert described["modalities"]["flair"]["quality"] == pytest.approx(dice, abs=1e-3)


def test_the_fused_row_is_the_modality_that_tells_tags_best(prepared, tmp_path):
    for case in ("001", "002"):  # t1c becomes noise in training, so that it tells nothing
        file = prepared / "cases" / case / "image.npy"
        image = np.load(file)
        image[:, 1] = np.random.default_rng(1).permutation(image[:, 1].ravel()).reshape(image[:, 1].shape)
        np.save(file, image)
    score_baseline("training", prepared, tmp_path)
    assert json.loads((tmp_path / "rule.json").read_text())["fused"] == "flair"
    rows = {row.map: row for row in read_rows(tmp_path / "metrics.csv")}
    assert rows["fused"].dice == rows["flair"].dice


def test_otsu_leaves_slices_empty_that_are_not_tagged_positive(prepared, tmp_path):
    file = prepared / "cases" / "004" / "case.json"
    described = json.loads(file.read_text())
    score_baseline("otsu", prepared, tmp_path / "both")
    file.write_text(json.dumps({**described, "tags": [0, 0, 1, -1, 0, 0]}))
    score_baseline("otsu", prepared, tmp_path / "one")
    both, one = (read_rows(tmp_path / name / "metrics.csv")[0] for name in ("both", "one"))
    assert one.prediction_ml == pytest.approx(both.prediction_ml / 2, rel=0.1)


def test_otsu_without_tags_is_an_error(prepared, tmp_path):
    file = prepared / "cases" / "004" / "case.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "tags": [-1] * 6}))
    with pytest.raises(ValueError, match="rule otsu: none of 1 cases of split test has a slice tagged"):
        score_baseline("otsu", prepared, tmp_path)


def test_a_mistyped_rule_names_the_nearest(prepared, tmp_path):
    with pytest.raises(ValueError, match=r"rule 'otsy' is unknown; did you mean otsu\?"):
        score_baseline("otsy", prepared, tmp_path)


def test_the_command_line_passes_everything_on(prepared, tmp_path):
    given = ["training", "--dataset_dir", prepared, "--output_dir", tmp_path / "out", "--modalities", "t1c"]
    command = [sys.executable, "-m", "scripts.baseline", *map(str, given), "--split", "validation"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300)
    assert run.returncode == 0, run.stderr
    rows = read_rows(tmp_path / "out" / "metrics.csv")
    assert [(row.case, row.map) for row in rows] == [("003", "t1c"), ("003", "fused")]
    refused = subprocess.run(command[:4], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300)
    assert (refused.returncode, "--dataset_dir and --output_dir are both needed" in refused.stderr) == (
        1,
        True,
    )
