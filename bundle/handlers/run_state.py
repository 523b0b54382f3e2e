"""What a killed run needs to go on: last and best checkpoint, written whole or not at all."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver

from bundle.configuration import differing_ids
from bundle.data import SliceDataset
from bundle.data.cache import write_json
from bundle.data.prepare import recorded_source
from bundle.data.pseudo_labels import PseudoLabelSliceDataset
from bundle.handlers.weights import read_checkpoint


class RandomState:
    """Random states as tensors, for a checkpoint (``torch.load(weights_only=True)`` refuses numpy's).

    Args:
        source: object that draws from a random state of its own and gives it by ``state_dict`` (the training
            inferer); torch's generators are always included.
    """

    def __init__(self, source: Any) -> None:
        self.source = source

    def state_dict(self) -> dict[str, Any]:
        """State of the source, of torch's CPU generator and of each CUDA device's."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"source": self.source.state_dict(), "cpu": torch.get_rng_state(), "cuda": cuda}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`state_dict` gave; CUDA states only on as many devices."""
        self.source.load_state_dict(state["source"])
        torch.set_rng_state(state["cpu"].cpu())
        if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


class RunState:
    """Saves a run after each epoch and resumes it where it stopped.

    ``checkpoints/last.pt`` holds all of ``objects``, the trainer, random states and the settings;
    ``models/model.pt`` is the flat state dict of the network at the lowest ``metric`` so far, with the settings in
    ``models/model.json`` beside it, together with the size of the slices and the cases and tags of the data. Both
    checkpoints are written to a temporary file and renamed. An undisturbed run and a resumed one give the same
    weights, bit for bit, on CPU.

    Args:
        output_dir: of the run.
        network: whose weights are kept.
        inferer: the training inferer, whose random state is kept, one for each rank.
        objects: name to object with ``state_dict``: optimizer, scheduler …
        settings: merged config of this run; resuming under other settings is refused. Empty: not compared.
        evaluator: computes ``metric``; without one, the last weights are the best.
        metric: name in the evaluator's metrics; lower is better. It is computed from held-out tags alone.
            ``None``: the last weights are the best.
        resume: go on from ``checkpoints/last.pt`` if there is one. A trainer that goes on in the same process (the next
            round of federated learning) keeps the weights that it was given.

    Raises:
        ValueError: if a checkpoint was made under other settings, or ``metric`` is not a finite number.
    """

    def __init__(
        self,
        output_dir: str,
        network: torch.nn.Module,
        inferer: Any,
        objects: Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
        evaluator: Engine | None = None,
        metric: str | None = "tag_cross_entropy",
        resume: bool = True,
    ) -> None:
        self.last, self.best = (
            Path(output_dir, "checkpoints", "last.pt"),
            Path(output_dir, "models", "model.pt"),
        )
        self.network = getattr(network, "module", network)  # not DDP's wrapper
        self.settings = dict(settings or {})
        self.evaluator, self.metric, self.resume = evaluator, metric, resume
        self.best_value, self.best_epoch = math.inf, 0
        self.objects: dict[str, Any] = {"network": self.network, **objects, "best": self}
        self.random = RandomState(inferer)

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, after the handler that validates."""
        self.objects["trainer"] = engine
        engine.add_event_handler(Events.STARTED, self._note_data)
        engine.add_event_handler(Events.STARTED, self._resume)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)
        engine.add_event_handler(Events.COMPLETED, self._tell)

    def state_dict(self) -> dict[str, Any]:
        """Best value and its epoch."""
        return {"value": self.best_value, "epoch": self.best_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over best value and its epoch."""
        self.best_value, self.best_epoch = float(state["value"]), int(state["epoch"])

    def _note_data(self, engine: Engine) -> None:
        """What a run was trained on belongs to its settings: it must not change on the way."""
        if not self.settings:
            return
        self.settings["processes"] = idist.get_world_size()
        self.settings["data_source"] = recorded_source(self.settings.get("dataset_dir", ""))
        for owner, cases, tags in (
            (engine, "training_cases", "training_tags"),
            (self.evaluator, "validation_cases", "validation_tags"),
        ):
            dataset = getattr(getattr(owner, "data_loader", None), "dataset", None)
            if isinstance(dataset, SliceDataset):
                self.settings["spatial_size"] = dataset.cases[0].geometry.spatial_size
                self.settings[cases] = [case.case for case in dataset.cases]
                self.settings[tags] = hashlib.sha256(
                    dataset.slice_index.tobytes() + dataset.tags.tobytes()
                ).hexdigest()
            if isinstance(dataset, PseudoLabelSliceDataset):
                self.settings["pseudo_labels"] = dataset.fingerprint()

    def _resume(self, engine: Engine) -> None:
        if not self.resume or engine.state.iteration > 0 or not self.last.is_file():
            return
        checkpoint = read_checkpoint(self.last, next(self.network.parameters()).device)
        changed = differing_ids(checkpoint.pop("settings"), self.settings)
        if changed:
            raise ValueError(
                f"{self.last} is of a run with other settings ({', '.join(changed)} differ); give another "
                f"--output_dir, or --resume False (in a chain: quoted in --cam_training or --segmenter_training) "
                f"to start over in this one"
            )
        max_epochs = engine.state.max_epochs
        random_by_rank = checkpoint.pop("random_by_rank")
        self.random.load_state_dict(random_by_rank[idist.get_rank() % len(random_by_rank)])
        Checkpoint.load_objects(to_load=self.objects, checkpoint=checkpoint)
        engine.state.max_epochs = max_epochs
        if idist.get_rank() == 0:
            print(f"going on from {self.last}, {engine.state.epoch} of {max_epochs} epochs done", flush=True)

    def _save(self, engine: Engine) -> None:
        random_by_rank = [self.random.state_dict()]
        if idist.get_world_size() > 1:  # collective, so before the other ranks return
            random_by_rank *= idist.get_world_size()
            torch.distributed.all_gather_object(random_by_rank, self.random.state_dict())
        value = self._value() if self._selects() else -float(engine.state.epoch)
        improved = value < self.best_value
        if improved:
            self.best_value, self.best_epoch = value, engine.state.epoch
        if idist.get_rank() > 0:
            return
        if improved:
            _write(self.network.state_dict(), self.best)
            write_json(self.best.with_suffix(".json"), self.settings)
        states = {name: item.state_dict() for name, item in self.objects.items()}
        _write({**states, "random_by_rank": random_by_rank, "settings": self.settings}, self.last)

    def _tell(self, engine: Engine) -> None:
        if self.best_epoch == 0:
            raise ValueError(
                f"no epoch was validated, so {self.best} was not written; lower --val_interval to at most the "
                f"number of --epochs (the last weights are in {self.last})"
            )
        if idist.get_rank() == 0:
            measured = f", {self.metric} {self.best_value:.4f}" if self._selects() else ""
            print(f"weights of epoch {self.best_epoch}{measured}: {self.best}", flush=True)

    def _selects(self) -> bool:
        return self.evaluator is not None and self.metric is not None

    def _value(self) -> float:
        """The last metric: an epoch without validation repeats it, and only a lower one is better."""
        assert self.evaluator is not None
        assert self.metric is not None
        if self.metric not in self.evaluator.state.metrics:  # not validated yet
            return math.inf
        return finite_metric(self.evaluator, self.metric)


def finite_metric(evaluator: Engine, name: str) -> float:
    """Value of a metric of the last validation.

    Raises:
        ValueError: it is no finite number, and so neither better nor worse than another.
    """
    value = float(evaluator.state.metrics[name])
    if not math.isfinite(value):
        raise ValueError(
            f"validation: expected a finite {name}, got {value}; the weights have diverged or the "
            f"validation split holds no tagged slice; lower --learning_rate or check the tags"
        )
    return value


def _write(state: Mapping[str, Any], path: Path) -> None:
    DiskSaver(str(path.parent), require_empty=False, atomic=True)(state, path.name)
