"""A training whose held-out tags get no better ends early and keeps its best weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ignite.engine import Events

from tests.end_to_end.test_resuming import PowerCut
from tests.running import TRAINING, make_raw, prepare, root_cause, workflow


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("early_stop")
    return prepare(make_raw(folder / "raw"), folder / "prepared")


def train(dataset_dir: Path, output_dir: Path, cut_in_epoch: int = 0) -> int:
    """Train and return the number of epochs; `cut_in_epoch` ends it after a step of that epoch."""
    # a rate of 0 changes no weight; batch statistics settle within some epochs
    given = {**TRAINING, "epochs": 60, "patience": 2, "learning_rate": 0.0, "warps": None}
    where = {"dataset_dir": str(dataset_dir), "output_dir": str(output_dir)}
    made = workflow("train", "run_early_stop", **given, **where)
    trainer = made.parser.get_parsed_content("train#trainer")

    def cut(engine):
        if engine.state.epoch == cut_in_epoch:
            raise PowerCut

    trainer.add_event_handler(Events.ITERATION_COMPLETED, cut)
    if cut_in_epoch:
        with pytest.raises(RuntimeError) as error:
            made.run()
        assert isinstance(root_cause(error.value), PowerCut)
    else:
        made.run()
    return trainer.state.epoch


@pytest.fixture(scope="module")
def stopped(dataset_dir) -> tuple[Path, int]:
    """Output folder and number of epochs of a training that ended early."""
    output_dir = dataset_dir.with_name("stopped")
    return output_dir, train(dataset_dir, output_dir)


def test_a_training_that_gets_no_better_ends(stopped):
    output_dir, epochs = stopped
    assert 3 <= epochs < 60
    assert torch.load(output_dir / "models" / "model.pt", weights_only=True)
    assert json.loads((output_dir / "models" / "model.json").read_text())["patience"] == 2


def test_an_interrupted_one_ends_where_an_undisturbed_one_does(stopped, dataset_dir, tmp_path):
    _, epochs = stopped
    train(dataset_dir, tmp_path, cut_in_epoch=epochs)  # one validation without a better value is behind it
    assert train(dataset_dir, tmp_path) == epochs


def test_one_that_has_ended_takes_no_further_step(stopped, dataset_dir):
    output_dir, epochs = stopped
    before = (output_dir / "checkpoints" / "last.pt").read_bytes()
    assert train(dataset_dir, output_dir) == epochs
    assert (output_dir / "checkpoints" / "last.pt").read_bytes() == before
