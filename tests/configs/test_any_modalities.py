"""One to four modalities: every choice of them trains, and a single one has nobody to exchange with."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
import torch

from bundle.data.prepare import PrepareOptions, prepare_cohort
from bundle.data.readers import find_brats
from tests.conftest import make_scan, write_case_files
from tests.running import merged

FOUR = ("t1", "t1c", "t2", "flair")
CHOICES = [choice for count in (1, 2, 3, 4) for choice in combinations(FOUR, count)]


@pytest.fixture(scope="module")
def four_modalities(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("four")
    for number, case in enumerate(("001", "002", "003"), start=1):
        images, mask = make_scan(number)
        both = {**images, "t1": images["t1c"] + 5, "t2": images["flair"] + 9}
        write_case_files(folder / "raw" / case, case, both, mask)
    (folder / "splits.json").write_text('{"train": ["001"], "validation": ["002"], "test": ["003"]}')
    options = PrepareOptions(
        FOUR, tags_from_masks=True, splits=folder / "splits.json", spatial_size=16, workers=1
    )
    prepare_cohort(find_brats(folder / "raw", FOUR), folder / "prepared", options, "brats", progress=False)
    return folder / "prepared"


@pytest.mark.parametrize("modalities", CHOICES, ids="-".join)
@pytest.mark.parametrize("early_fusion", [False, True], ids=["branches", "early_fusion"])
def test_any_choice_of_modalities_takes_two_steps(modalities, early_fusion, four_modalities):
    given = {
        "modalities": ",".join(modalities),
        "early_fusion": early_fusion,
        "dataset_dir": str(four_modalities),
    }
    size = {"width": 2, "levels": 1, "precision": "float32", "batch_size": 4}
    size["loss_terms#kd#weight"] = 0.5
    two_steps = {"epochs": 1, "ramp_epochs": 0, "train#trainer#epoch_length": 2, "train#handlers": []}
    parser = merged("train", **given, **size, **two_steps)
    trainer, loss = parser.get_parsed_content("train#trainer"), parser.get_parsed_content("loss")
    trainer.run()
    assert torch.isfinite(trainer.state.output["loss"])
    network = parser.get_parsed_content("network_def")
    branches = 1 if early_fusion else len(modalities)
    assert len(network.branches) == branches
    assert {branch.encoder[0][0].in_channels for branch in network.branches} == {len(modalities) // branches}
    assert (loss.values["kd"] > 0) == (branches > 1)
    if branches == 1:
        assert loss.values["cmer"] == 0
