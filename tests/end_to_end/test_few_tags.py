"""Tags with gaps, a share of the tags, and tags of whole volumes: from a CSV to a mask by the shipped configs."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.data.prepare import Preparation, PrepareOptions, prepare_cohort
from bundle.data.readers import find_brats
from tests.conftest import MODALITIES, make_scan, write_case_files
from tests.end_to_end.conftest import LEARNING
from tests.running import SIZE, root_cause, run_here

GAPS = "case,slice,tag\n" + "".join(  # slices 1, 2 and 5 of each case; the others nobody looked at
    f"{case},{position},{tag}\n"
    for case in ("001", "002", "003")
    for position, tag in ((1, 0), (2, 1), (5, 0))
)
LESIONS = {"001": (2, 3), "002": (), "003": (2, 3), "004": (2, 3), "005": (), "006": (1, 2)}
VOLUMES = "case,tag\n" + "".join(f"{case},{int(bool(lesion))}\n" for case, lesion in LESIONS.items())
SPLITS = {"train": ["001", "002"], "validation": ["003", "005"], "test": ["004", "006"]}


def prepare(raw: Path, folder: Path, text: str, splits: dict[str, list[str]]) -> Preparation:
    folder.mkdir(parents=True)
    (folder / "tags.csv").write_text(text)
    (folder / "splits.json").write_text(json.dumps(splits))
    options = PrepareOptions(
        MODALITIES,
        tags=folder / "tags.csv",
        splits=folder / "splits.json",
        spatial_size=16,
        workers=1,
    )
    return prepare_cohort(find_brats(raw, MODALITIES), folder / "D", options, "brats", progress=False)


def train_and_predict(dataset_dir: Path, output_dir: Path, *overlays: str, **options) -> dict:
    """Train, write the test cases' masks, and give the settings."""
    where = {"dataset_dir": str(dataset_dir), "output_dir": str(output_dir)}
    run_here("train", *overlays, **{**LEARNING, "epochs": 2, **where, **options})
    run_here("inference", *overlays, **SIZE, **where)
    assert np.asarray(nib.load(output_dir / "masks" / "004.nii.gz").dataobj).shape == (20, 24, 6)
    return json.loads((output_dir / "models" / "model.json").read_text())


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Preparation:
    """Six cases, each tagged as a whole."""
    folder = tmp_path_factory.mktemp("volumes")
    for number, (case, lesion) in enumerate(LESIONS.items()):
        write_case_files(folder / "raw" / case, case, *make_scan(number, lesion))
    return prepare(folder / "raw", folder / "prepared", VOLUMES, SPLITS)


def test_a_share_of_the_slices_may_be_untagged(raw, tmp_path):
    splits = {"train": ["001", "002"], "validation": ["003"], "test": ["004"]}
    made = prepare(raw, tmp_path / "prepared", GAPS, splits)
    assert "untagged" in made.summary()
    train_and_predict(made.output_dir, tmp_path / "run")


def test_training_uses_a_share_of_the_tags_on_request(dataset_dir, tmp_path):
    settings = train_and_predict(dataset_dir, tmp_path / "half", tag_share=0.5)
    whole = train_and_predict(dataset_dir, tmp_path / "whole")
    assert settings["training_tags"] != whole["training_tags"]
    assert settings["validation_tags"] == whole["validation_tags"]


def test_volumes_tags_alone_train_from_the_command_line(volumes, tmp_path):
    for case, lesion in LESIONS.items():
        described = json.loads((volumes.output_dir / "cases" / case / "case.json").read_text())
        assert described["tags"] == ([-1] * 6 if lesion else [0] * 6)
        assert described.get("volume_tag") == (1 if lesion else None)
    train_and_predict(volumes.output_dir, tmp_path, "method_volume_tags")


def test_preparing_says_which_method_learns_from_volumes(volumes):
    summary = volumes.summary()
    assert "4 cases are tagged positive as a whole: their slices stay untagged" in summary
    assert summary.splitlines()[-1].startswith("Next: python -m scripts.run_chain ")
    assert summary.endswith(" --cam_configs method_volume_tags")


def test_a_method_that_needs_slices_does_not_take_a_volume_for_one(volumes, tmp_path):
    where = {"dataset_dir": str(volumes.output_dir), "output_dir": str(tmp_path)}
    with pytest.raises(RuntimeError) as error:
        run_here("train", **LEARNING, **where)
    assert "tags of whole volumes are learnt from by configs/method_volume_tags.yaml alone" in str(
        root_cause(error.value)
    )


def test_new_tags_of_a_volume_replace_the_old_ones(raw, tmp_path):
    (tmp_path / "splits.json").write_text(
        json.dumps({"train": ["001", "002", "003"], "validation": [], "test": ["004"]})
    )
    options = PrepareOptions(
        MODALITIES, tmp_path / "tags.csv", splits=tmp_path / "splits.json", spatial_size=16, workers=1
    )
    for tag, expected in ((1, 1), (0, None)):
        (tmp_path / "tags.csv").write_text(f"case,tag\n001,{tag}\n002,1\n003,0\n")
        prepare_cohort(find_brats(raw, MODALITIES), tmp_path / "D", options, "brats", progress=False)
        described = json.loads((tmp_path / "D" / "cases" / "001" / "case.json").read_text())
        assert described.get("volume_tag") == expected
