"""A killed run goes on where it stopped, bit for bit; files are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from monai.handlers import LrScheduleHandler, ValidationHandler

from bundle.handlers import LossTermHandler, RunState
from tests.tiny_trainer import TinyRun

SETTINGS = {"modalities": ["t1", "t1c"], "width": 2, "epochs": 4, "output_dir": "a"}


class Killed(RuntimeError):
    """Stands for the signal that ends a run."""


class KillIn:
    """Ends a run in the middle of an epoch, when weights and random states have moved on."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if engine.state.epoch == self.epoch and engine.state.iteration % 3 == 2:
            raise Killed


class Metric:
    """Stands for an evaluator whose metric takes these values, epoch by epoch."""

    def __init__(self, *values: float) -> None:
        self.values = values
        self.evaluator = Engine(lambda engine, batch: None)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        self.evaluator.state.metrics["tag_cross_entropy"] = self.values[engine.state.epoch - 1]


def run_state(run: TinyRun, folder: Path, **options) -> RunState:
    parts = {"optimizer": run.optimizer, "lr_scheduler": run.scheduler}
    return RunState(str(folder), run.network, run.inferer, parts, **options)


def train(folder: Path, *more, epochs: int = 4, seed: int = 0, **options) -> TinyRun:
    """As the training config: validate, ramp up, schedule, save."""
    run = TinyRun(epochs, seed=seed)
    handlers = [
        ValidationHandler(1, run.evaluator),
        LossTermHandler("er", run.loss, ramp_epochs=2),
        LrScheduleHandler(run.scheduler, print_lr=False),
        run_state(run, folder, **{"settings": SETTINGS, "evaluator": run.evaluator, **options}),
    ]
    return run.run([*handlers, *more])


def train_by(folder: Path, metric: Metric, epochs: int, **options) -> TinyRun:
    """Model selection by made-up values."""
    run = TinyRun(epochs)
    return run.run([metric, run_state(run, folder, evaluator=metric.evaluator, **options)])


def load(path: Path):
    return torch.load(path, weights_only=True)


def identical(first, second) -> bool:
    """Whether two checkpoints hold the same values, tensors bit for bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(identical(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(identical(a, b) for a, b in zip(first, second, strict=True))
    return first == second


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    first, same, other = (train(tmp_path / str(i), seed=seed, epochs=1) for i, seed in enumerate((0, 0, 1)))
    assert identical(first.network.state_dict(), same.network.state_dict())
    assert not identical(first.network.state_dict(), other.network.state_dict())


@pytest.mark.parametrize("epoch", [2, 3, 4])
def test_a_killed_run_goes_on_and_equals_an_undisturbed_one_bit_for_bit(tmp_path, epoch):
    undisturbed = train(tmp_path / "undisturbed")
    with pytest.raises(Killed):
        train(tmp_path / "killed", KillIn(epoch))
    assert load(tmp_path / "killed/checkpoints/last.pt")["trainer"]["epoch_length"] == 3
    resumed = train(tmp_path / "killed")
    assert resumed.trainer.state.epoch == 4
    assert identical(resumed.network.state_dict(), undisturbed.network.state_dict())
    assert identical(resumed.optimizer.state_dict(), undisturbed.optimizer.state_dict())
    assert resumed.scheduler.get_last_lr() == undisturbed.scheduler.get_last_lr()
    for name in ("models/model.pt", "checkpoints/last.pt"):
        assert identical(load(tmp_path / "killed" / name), load(tmp_path / "undisturbed" / name)), name
    assert (tmp_path / "killed/models/model.json").read_text() == (
        tmp_path / "undisturbed/models/model.json"
    ).read_text()


def test_a_run_killed_in_its_first_epoch_starts_over(tmp_path):
    undisturbed = train(tmp_path / "undisturbed", epochs=2)
    with pytest.raises(Killed):
        train(tmp_path / "killed", KillIn(1), epochs=2)
    assert not (tmp_path / "killed/checkpoints/last.pt").exists()
    resumed = train(tmp_path / "killed", epochs=2)
    assert identical(resumed.network.state_dict(), undisturbed.network.state_dict())


def test_a_finished_run_has_nothing_to_do_and_other_epochs_are_other_settings(tmp_path):
    finished = train(tmp_path / "more", epochs=2)
    again = train(tmp_path / "more", epochs=2)
    assert identical(again.network.state_dict(), finished.network.state_dict())
    with pytest.raises(ValueError, match="epochs"):  # a schedule that spans the epochs would be another one
        train(tmp_path / "more", epochs=4, settings={**SETTINGS, "epochs": 7})
    longer = train(tmp_path / "more", epochs=4)
    assert longer.trainer.state.epoch == 4
    assert identical(longer.network.state_dict(), train(tmp_path / "undisturbed").network.state_dict())


def test_without_resume_a_run_starts_over(tmp_path):
    train(tmp_path / "a", epochs=1)
    again = train(tmp_path / "a", epochs=2, resume=False)
    assert identical(again.network.state_dict(), train(tmp_path / "b", epochs=2).network.state_dict())


def test_a_trainer_that_goes_on_in_one_process_keeps_the_weights_that_it_was_given(tmp_path):
    run = train(tmp_path, epochs=1)
    given = {name: torch.zeros_like(value) for name, value in run.network.state_dict().items()}
    run.network.load_state_dict(given)  # as a server's average comes
    begun: list[bool] = []
    run.trainer.add_event_handler(
        Events.EPOCH_STARTED, lambda _: begun.append(identical(run.network.state_dict(), given))
    )
    run.trainer.state.max_epochs = 2
    run.trainer.run()
    assert begun == [True]


def test_going_on_under_other_settings_is_refused_by_id(tmp_path):
    train(tmp_path, epochs=1)
    changed = {**SETTINGS, "width": 4, "modalities": ["t1", "t2"], "output_dir": "b"}
    with pytest.raises(
        ValueError, match=r"other settings \(modalities, width differ\); give another --output_dir"
    ):
        train(tmp_path, settings=changed)


def test_settings_that_say_nothing_of_the_result_may_change(tmp_path):
    train(tmp_path, epochs=1)
    resumed = train(tmp_path, epochs=2, settings={**SETTINGS, "output_dir": "moved"})
    assert resumed.trainer.state.epoch == 2


def test_the_best_weights_are_kept_not_the_last(tmp_path):
    weights = []
    metric = Metric(0.7, 0.5, 0.6, 0.9)
    run = TinyRun(4)
    run.trainer.add_event_handler(
        Events.EPOCH_COMPLETED,
        lambda _: weights.append({name: value.clone() for name, value in run.network.state_dict().items()}),
    )
    run.run([metric, run_state(run, tmp_path, evaluator=metric.evaluator)])
    assert identical(load(tmp_path / "models/model.pt"), weights[1])
    checkpoint = load(tmp_path / "checkpoints/last.pt")
    assert identical(checkpoint["network"], weights[3])
    assert checkpoint["best"] == {"value": 0.5, "epoch": 2}


def test_a_resumed_run_remembers_the_best_value(tmp_path):
    train_by(tmp_path, Metric(0.5, 0.6), epochs=2)
    best = load(tmp_path / "models/model.pt")
    train_by(tmp_path, Metric(0.5, 0.6, 0.55), epochs=3)
    assert identical(load(tmp_path / "models/model.pt"), best)
    train_by(tmp_path, Metric(0.5, 0.6, 0.55, 0.4), epochs=4)
    assert not identical(load(tmp_path / "models/model.pt"), best)


def test_of_equal_values_the_first_is_the_best(tmp_path):
    train_by(tmp_path, Metric(0.5, 0.5), epochs=2)
    assert load(tmp_path / "checkpoints/last.pt")["best"] == {"value": 0.5, "epoch": 1}


def test_without_evaluator_the_last_weights_are_the_best(tmp_path):
    run = TinyRun(2)
    run.run([run_state(run, tmp_path)])
    assert identical(load(tmp_path / "models/model.pt"), run.network.state_dict())


def test_the_model_is_a_flat_state_dict(tmp_path):
    run = train(tmp_path, epochs=1)
    model = load(tmp_path / "models/model.pt")
    assert all(isinstance(value, torch.Tensor) for value in model.values())
    run.network.load_state_dict(model)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_run_that_diverged_ends_with_an_error_and_keeps_its_files(tmp_path, value):
    with pytest.raises(ValueError, match="expected a finite tag_cross_entropy, got"):
        train_by(tmp_path, Metric(0.5, value), epochs=2)
    assert load(tmp_path / "checkpoints/last.pt")["best"]["epoch"] == 1


def test_a_save_that_fails_leaves_the_earlier_checkpoint_and_no_partial_file(tmp_path, monkeypatch):
    train(tmp_path, epochs=1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail(state, file, **options):
        (file.write if hasattr(file, "write") else Path(file).write_bytes)(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        train(tmp_path, epochs=2)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_epochs_without_validation_are_saved_and_never_the_best(tmp_path):
    run = TinyRun(2)
    never = Engine(lambda engine, batch: None)
    run_state(run, tmp_path, evaluator=never).attach(run.trainer)
    with pytest.raises(ValueError, match="no epoch was validated"):
        run.trainer.run()
    assert (tmp_path / "checkpoints/last.pt").is_file()
    assert not (tmp_path / "models/model.pt").exists()
