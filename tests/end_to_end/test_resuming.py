"""A killed run goes on where it stopped, and nobody can tell afterwards."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from ignite.engine import Events

from tests.end_to_end.conftest import LEARNING
from tests.running import flags, root_cause, run_here, typed, workflow


def load(output_dir: Path, file: str = "models/model.pt") -> dict:
    return torch.load(output_dir / file, weights_only=True)


def assert_same_run(one: Path, other: Path) -> None:
    """Both networks, best and last, the optimizer's state and which epoch was best, bit for bit."""
    last, other_last = load(one, "checkpoints/last.pt"), load(other, "checkpoints/last.pt")
    for a, b in ((load(one), load(other)), (last["network"], other_last["network"])):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert last["best"] == other_last["best"]
    for number, state in last["optimizer"]["state"].items():
        assert all(torch.equal(v, other_last["optimizer"]["state"][number][k]) for k, v in state.items())


def differ(one: Path, other: Path) -> bool:
    a, b = load(one), load(other)
    return any(not torch.equal(a[name], b[name]) for name in a)


class PowerCut(Exception):
    """Stands for anything that ends a run in the middle of an epoch."""


def train(dataset_dir: Path, output_dir: Path, cut_in_epoch: int = 0, **options) -> None:
    """Train for 4 epochs; `cut_in_epoch` ends it after a step of that one."""
    given = {**LEARNING, "epochs": 4, "dataset_dir": str(dataset_dir), "output_dir": str(output_dir)}
    made = workflow("train", **{**given, **options})

    def cut(engine):
        if engine.state.epoch == cut_in_epoch:
            raise PowerCut

    if cut_in_epoch:
        trainer = made.parser.get_parsed_content("train#trainer")
        trainer.add_event_handler(Events.ITERATION_COMPLETED, cut)
        with pytest.raises(RuntimeError) as error:
            made.run()
        assert isinstance(root_cause(error.value), PowerCut)
    else:
        made.run()


@pytest.fixture(scope="module")
def undisturbed(dataset_dir, tmp_path_factory) -> Path:
    output_dir = tmp_path_factory.mktemp("undisturbed")
    train(dataset_dir, output_dir)
    return output_dir


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_an_interrupted_run_ends_as_an_undisturbed_one(epoch, undisturbed, dataset_dir, tmp_path):
    train(dataset_dir, tmp_path, cut_in_epoch=epoch)
    torch.rand(7)  # whatever happens in between
    train(dataset_dir, tmp_path)
    assert_same_run(tmp_path, undisturbed)


def test_a_run_that_was_interrupted_twice_as_well(undisturbed, dataset_dir, tmp_path):
    train(dataset_dir, tmp_path, cut_in_epoch=2)
    train(dataset_dir, tmp_path, cut_in_epoch=3)
    train(dataset_dir, tmp_path)
    assert_same_run(tmp_path, undisturbed)


def test_a_killed_process_ends_as_an_undisturbed_one(dataset_dir, tmp_path):
    given = {**LEARNING, "epochs": 25, "dataset_dir": dataset_dir, "output_dir": tmp_path / "killed"}
    command = typed("run", "training", "--config_file", "configs/train.yaml", *flags(**given))
    last = tmp_path / "killed" / "checkpoints" / "last.pt"
    with subprocess.Popen(**command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and (not last.is_file() or epoch_of(last) < 2):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert 2 <= epoch_of(last) < 25
    given["dataset_dir"] = str(dataset_dir)
    run_here("train", **{**given, "output_dir": str(tmp_path / "killed")})
    run_here("train", **{**given, "output_dir": str(tmp_path / "undisturbed")})
    assert_same_run(tmp_path / "killed", tmp_path / "undisturbed")


def epoch_of(last: Path) -> int:
    checkpoint = torch.load(last, weights_only=True)
    return checkpoint["trainer"]["iteration"] // checkpoint["trainer"]["epoch_length"]


def test_a_finished_run_is_left_alone(undisturbed, dataset_dir):
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.pt")}
    train(dataset_dir, undisturbed)
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.pt")} == before


def test_one_seed_gives_one_result_and_another_seed_another(undisturbed, dataset_dir, tmp_path):
    torch.manual_seed(12345)  # the state before a run does not matter
    train(dataset_dir, tmp_path / "same")
    train(dataset_dir, tmp_path / "other", seed=1)
    assert_same_run(tmp_path / "same", undisturbed)
    assert differ(tmp_path / "other", undisturbed)


def test_starting_over_needs_to_be_said(undisturbed, dataset_dir, tmp_path):
    train(dataset_dir, tmp_path, cut_in_epoch=3, seed=1)
    train(dataset_dir, tmp_path, resume=False)
    assert_same_run(tmp_path, undisturbed)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"learning_rate": 0.02}, "learning_rate"),
        ({"seed": 1}, "seed"),
        ({"loss_terms#er#weight": 2.0}, "loss_terms"),
        ({"modalities": ("t1c", "flair")}, "modalities"),
    ],
)
def test_other_settings_in_one_output_dir_are_refused(changed, named, undisturbed, dataset_dir):
    with pytest.raises(RuntimeError) as error:
        train(dataset_dir, undisturbed, **changed)
    assert isinstance(root_cause(error.value), ValueError)
    assert f"other settings ({named} differ)" in str(root_cause(error.value))
    assert "--output_dir" in str(root_cause(error.value))


def test_the_result_does_not_depend_on_worker_processes(undisturbed, dataset_dir, tmp_path):
    train(dataset_dir, tmp_path, workers=1)
    assert_same_run(tmp_path, undisturbed)
