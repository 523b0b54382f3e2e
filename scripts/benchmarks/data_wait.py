"""How much of an epoch passes waiting for data."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ignite.engine import Engine, Events

from bundle.data import PrepareOptions, prepare_cohort
from bundle.data.splits import write_splits
from scripts.benchmarks.configured import configured
from scripts.benchmarks.options import BenchmarkOptions
from scripts.benchmarks.synthetic_scans import write_scans

SLICES = 32  # of each of the cases that are trained on
CASES = 4


class _Clock:
    """Adds up what an engine spends in its epochs and, of that, between asking for a batch and having it."""

    def __init__(self, engine: Engine) -> None:
        self.waiting = self.epoch = 0.0
        self._asked = self._begun = 0.0
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._ask)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._get)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)

    def _begin(self, engine: Engine) -> None:
        self._begun = time.perf_counter()

    def _ask(self, engine: Engine) -> None:
        self._asked = time.perf_counter()

    def _get(self, engine: Engine) -> None:
        self.waiting += time.perf_counter() - self._asked

    def _end(self, engine: Engine) -> None:
        self.epoch += time.perf_counter() - self._begun


def measure_data_wait(options: BenchmarkOptions) -> dict[str, Any]:
    """``data_wait_frac``: the share of an epoch in which configs/train.yaml's trainer waits for its loader.

    On a prepared synthetic data set, in the precision that the device computes fastest, without the
    handlers, so that nothing but steps makes an epoch long. Target: under 0.05.
    """
    with TemporaryDirectory(prefix="benchmark_") as folder:
        clock = _Clock(trainer := _trainer(Path(folder), options))
        trainer.run()
    return {
        "data_wait_frac": clock.waiting / clock.epoch,
        "data_wait_ms_per_step": 1000 * clock.waiting / trainer.state.iteration,
    }


def _trainer(folder: Path, options: BenchmarkOptions) -> Any:
    names = options.names(options.step_modalities)
    side = options.size
    records = write_scans(folder / "raw", names, (side, side, SLICES), CASES)
    cases = [record.case for record in records]
    splits = {"train": cases[1:], "validation": cases[:1], "test": []}
    write_splits(folder / "splits.json", splits)
    how = PrepareOptions(
        names, tags_from_masks=True, splits=folder / "splits.json", spatial_size=side, workers=1
    )
    prepare_cohort(records, folder / "prepared", how, progress=False)
    changes = {
        "dataset_dir": str(folder / "prepared"),
        "output_dir": str(folder / "run"),
        "epochs": 1,
        "device": "$torch.device('cpu')",
    }
    parser = configured("train.yaml", options, names, **changes)
    parser["train"]["handlers"] = []
    parser.parse(True)
    return parser.get_parsed_content("train#trainer")
