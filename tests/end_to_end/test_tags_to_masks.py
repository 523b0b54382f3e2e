"""Tags to masks by one command, which repeats nothing and reads no mask."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from packaging.version import Version

import bundle.chain.chain
import bundle.chain.stage
from bundle.chain import ChainOptions, run_chain
from tests.conftest import MODALITIES, SHAPE
from tests.end_to_end.test_no_mask_reaches_training import replace_by_noise
from tests.end_to_end.test_resuming import assert_same_run
from tests.running import ROOT, make_raw, prepare, run_here

CAM = {"width": 2, "levels": 1, "precision": "float32"}
CAM_TRAINING = {"epochs": 6, "epoch_slices": 12, "batch_size": 4, "learning_rate": 0.01}
SEGMENTER = {"width": 2, "precision": "float32"}
SEGMENTER_TRAINING = {"epochs": 6, "batch_size": 4, "learning_rate": 0.01}


def quoted(options: dict) -> str:
    return " ".join(f"--{name} {value}" for name, value in options.items())


def type_chain(dataset_dir: Path, output_dir: Path) -> subprocess.CompletedProcess[str]:
    flags = {
        "dataset_dir": dataset_dir,
        "output_dir": output_dir,
        "modalities": ",".join(MODALITIES),
        "cam_options": quoted(CAM),
        "cam_training": quoted(CAM_TRAINING),
        "segmenter_options": quoted(SEGMENTER),
        "segmenter_training": quoted(SEGMENTER_TRAINING),
    }
    words = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    return subprocess.run(
        [sys.executable, "-m", "scripts.run_chain", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        text=True,
        encoding="utf-8",
        capture_output=True,
        timeout=600,
        check=False,
    )


def here(command: list[str], **_) -> SimpleNamespace:
    """What `subprocess.run` is asked for, in this process."""
    words = command[command.index("run") + 1 :]
    run_id = "run" if words[0].startswith("--") else words.pop(0)
    options = dict(zip([word.removeprefix("--") for word in words[::2]], words[1::2], strict=True))
    files = options.pop("config_file")
    values = {name: plain(value) for name, value in options.items()}
    run_here(*(ast.literal_eval(files) if files.startswith("[") else [files]), run_id=run_id, **values)
    return SimpleNamespace(returncode=0)


def plain(text: str):
    """A value of the command line."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def volumes(folder: Path) -> dict[str, np.ndarray]:
    return {
        str(path.relative_to(folder)): np.asarray(nib.load(path).dataobj)
        for path in sorted(folder.rglob("*.nii.gz"))
    }


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """The cohort at 32 x 32 pixels, which the segmenter's four poolings need."""
    folder = tmp_path_factory.mktemp("chain")
    return prepare(make_raw(folder / "raw"), folder / "prepared", spatial_size=32)


@pytest.fixture(scope="module")
def typed(wide) -> tuple[Path, str]:
    """The output folder of the command, and what it printed."""
    output_dir = wide.with_name("typed")
    run = type_chain(wide, output_dir)
    assert run.returncode == 0, run.stdout + run.stderr
    return output_dir, run.stdout + run.stderr


def test_one_command_goes_from_tags_to_masks(typed):
    output_dir, printed = typed
    mask = nib.load(output_dir / "masks" / "004.nii.gz")
    assert mask.shape == SHAPE
    assert set(np.unique(mask.dataobj)) <= {0, 1}
    assert (output_dir / "predictions.png").is_file()
    assert (output_dir / "evaluation" / "summary.json").is_file()  # the cohort has masks
    report = json.loads((output_dir / "chain.json").read_text())
    assert [row["name"] for row in report["stages"]] == ["cam", "segmenter_1"]
    for row in report["stages"]:
        assert row["seconds"] > 0
        tags = row["validation_tags"]
        assert tags["found"] + tags["missed"] == 2  # case 003: slices 2 and 3 of 1 to 5
        assert tags["empty"] + tags["false"] == 3
    assert report["made_by"] == ("segmenter_1" if report["stages"][1]["accepted"] else "cam")
    assert f"masks by {report['made_by']}" in printed
    assert f"/{report['made_by']}/models/model.pt" in printed.split("new scans: ")[1].splitlines()[0]


def test_the_log_tells_once_that_configs_are_code_and_alarms_nobody(typed):
    _, printed = typed
    said = (
        0 if Version(version("monai")) < Version("1.6") else 1
    )  # MONAI says so since then, in every process
    assert printed.count("Only proceed if this config is from a source you trust") == said
    assert "were used to train" not in printed


def test_the_masks_are_those_that_were_scored(typed):
    output_dir, _ = typed
    summary = json.loads((output_dir / "evaluation" / "summary.json").read_text())
    mask = np.asarray(nib.load(output_dir / "masks" / "004.nii.gz").dataobj) > 0
    truth = np.zeros(SHAPE, dtype=bool)
    truth[5:10, 6:12, 2:4] = True
    dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    assert summary["maps"]["fused"]["dice"]["mean"] == pytest.approx(dice, abs=1e-6)


def test_a_second_call_repeats_nothing(typed, wide, contents):
    output_dir, first = typed
    before = contents(output_dir)
    times = {path: path.stat().st_mtime_ns for path in output_dir.rglob("*.pt")}
    again = type_chain(wide, output_dir)
    assert again.returncode == 0, again.stderr
    assert "done before" not in first
    assert again.stdout.count("==") == again.stdout.count("done before") == 8
    assert contents(output_dir) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_no_mask_is_read(typed, wide, tmp_path, monkeypatch):
    """Masks of noise change no weight, no map and no mask of the chain."""
    output_dir, _ = typed
    copy = shutil.copytree(wide, tmp_path / "prepared")
    for mask in sorted((copy / "masks").glob("*.nii.gz")):
        replace_by_noise(mask)
    monkeypatch.setattr(bundle.chain.stage.subprocess, "run", here)
    found = run_chain(
        ChainOptions(
            copy,
            tmp_path / "R",
            MODALITIES,
            cam_options=CAM,
            cam_training=CAM_TRAINING,
            segmenter_options=SEGMENTER,
            segmenter_training=SEGMENTER_TRAINING,
            evaluate=False,
        )
    )
    made = json.loads((output_dir / "chain.json").read_text())
    for row in (*found["stages"], *made["stages"]):
        row.pop("seconds")
    assert found == made
    for stage in ("cam", "segmenter_1"):
        assert_same_run(tmp_path / "R" / stage, output_dir / stage)
    expected = volumes(output_dir)
    assert len(expected) >= 14
    same = volumes(tmp_path / "R")
    assert same.keys() == expected.keys()
    assert all(np.array_equal(same[name], expected[name]) for name in expected)


def test_a_segmenter_of_three_dimensions_takes_the_other_ones_place(wide, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle.chain.stage.subprocess, "run", here)
    monkeypatch.setattr(bundle.chain.chain, "is_kept", lambda *_: True)  # however little it has learnt
    options = {
        "cam_options": CAM,
        "cam_training": CAM_TRAINING,
        "segmenter_configs": ("network_selftrain3d",),
        "segmenter_options": {"precision": "float32", "patch_size": "[16,16,8]"},
        "segmenter_training": {"epochs": 2, "epoch_slices": 6},
    }
    report = run_chain(ChainOptions(wide, tmp_path / "R", MODALITIES, **options))
    assert report["made_by"] == "segmenter_1"
    made = json.loads((tmp_path / "R" / "segmenter_1" / "models" / "model.json").read_text())
    assert made["branch"]["_target_"] == "SegResNet"
    assert made["patch_size"] == [16, 16, 8]
    for folder in ("masks", "segmenter_1/validation/masks", "segmenter_1/train/cams/fused"):
        assert {nib.load(path).shape for path in (tmp_path / "R" / folder).glob("*.nii.gz")} == {SHAPE}
    assert (tmp_path / "R" / "evaluation" / "summary.json").is_file()
