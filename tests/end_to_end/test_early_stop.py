"""A training whose held-out tags get no better ends early and keeps its best weights."""

from __future__ import annotations

import json

import torch

from tests.running import TRAINING, make_raw, prepare, run_here


def test_a_training_that_gets_no_better_ends(tmp_path):
    dataset_dir = prepare(make_raw(tmp_path / "raw"), tmp_path / "prepared")
    # a rate of 0 changes no weight; batch statistics settle within some epochs
    given = {**TRAINING, "epochs": 60, "patience": 2, "learning_rate": 0.0, "warps": None}
    where = {"dataset_dir": str(dataset_dir), "output_dir": str(tmp_path / "run")}
    trained = run_here("train", "run_early_stop", **given, **where)
    trainer = trained.parser.get_parsed_content("train#trainer")
    assert 3 <= trainer.state.epoch < 60
    assert torch.load(tmp_path / "run" / "models" / "model.pt", weights_only=True)
    assert json.loads((tmp_path / "run" / "models" / "model.json").read_text())["patience"] == 2
