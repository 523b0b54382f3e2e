"""The script of docs/federated.md: two sites with different patients, two rounds, by MONAI's own classes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Events
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import FlStatistics
from monai.fl.utils.exchange_object import ExchangeObject

from tests.running import ROOT, SIZE, TRAINING, make_raw, prepare, run_here
from tests.test_docs import blocks

SPLITS = {
    "site_a": {"train": ["001"], "validation": ["003"], "test": ["002", "004"]},
    "site_b": {"train": ["002"], "validation": ["004"], "test": ["001", "003"]},
}


@pytest.fixture
def script(tmp_path, monkeypatch) -> SimpleNamespace:
    """What it defines, for two tiny sites below the working directory."""
    monkeypatch.chdir(tmp_path)
    raw = make_raw(tmp_path / "raw")
    for site, splits in SPLITS.items():
        prepare(raw, tmp_path / site, splits)
    defined: dict = {"__name__": "federated"}
    (text,) = blocks(ROOT / "docs" / "federated.md", "python")
    exec(text, defined)
    defined["BUNDLE"], defined["LOCAL_EPOCHS"] = str(ROOT), 1
    defined["OPTIONS"].update(TRAINING, epochs=2)
    return SimpleNamespace(**defined)


@pytest.fixture
def started(script, monkeypatch) -> list[dict[str, torch.Tensor]]:
    """The weights with which each client starts a round."""
    seen: list[dict[str, torch.Tensor]] = []
    train = MonaiAlgo.train

    def watched(self, data, extra=None):
        handler = self.trainer.add_event_handler(
            Events.EPOCH_STARTED, lambda engine: seen.append(copied(engine))
        )
        train(self, data, extra)
        handler.remove()

    monkeypatch.setattr(MonaiAlgo, "train", watched)
    return seen


def copied(engine) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in engine.network.state_dict().items()}


def sent(steps: int, **weights: torch.Tensor) -> ExchangeObject:
    return ExchangeObject(weights=weights, statistics={FlStatistics.NUM_EXECUTED_ITERATIONS: steps})


def test_two_sites_average_what_they_learn_and_the_result_is_evaluated(script, started, capsys):
    script.write(script.federate(), "runs/federated")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("round")]
    assert [line.split(":")[0] for line in lines] == [
        f"round {number}, {site}" for number in (1, 2) for site in SPLITS
    ]
    first, second = started[:2], started[2:]
    for a, b in (first, second):
        assert all(torch.equal(a[name], b[name]) for name in a), "both start with the same weights"
    assert any(not torch.equal(first[0][name], second[0][name]) for name in first[0])
    run_here("evaluate", **SIZE, dataset_dir="site_a", output_dir="runs/federated")
    assert Path("runs/federated/metrics.csv").is_file()


def test_the_average_weighs_each_site_by_its_steps_and_keeps_counters_whole(script):
    found = script.average(
        [
            sent(30, weight=torch.tensor([1.0, 0.0]), batches=torch.tensor(30)),
            sent(10, weight=torch.tensor([5.0, 4.0]), batches=torch.tensor(10)),
        ]
    )
    assert torch.equal(
        found.weights["weight"], torch.tensor([2.0, 1.0])
    )  # (30 * 1 + 10 * 5) / 40, 10 * 4 / 40
    assert torch.equal(found.weights["batches"], torch.tensor(25))  # (30 * 30 + 10 * 10) / 40
    assert found.is_valid_weights()


def test_a_federated_round_begins_with_the_average_even_where_a_site_would_resume(script, started):
    script.OPTIONS["resume"] = True  # by default: from the checkpoint that the round before left
    script.federate()
    assert all(torch.equal(value, started[3][name]) for name, value in started[2].items())


def test_what_is_shared_names_no_patient(script):
    script.write(script.federate(), "runs/federated")
    assert '"001"' in Path("runs/site_a/models/model.json").read_text()
    noted = Path("runs/federated/models/model.json").read_text()
    assert [case for case in ("001", "002", "003", "004") if f'"{case}"' in noted] == []
    assert json.loads(noted)["modalities"]
