"""The benchmark: every part gives its figures, and ours computes what the plain reference computes."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from bundle.data.run_jobs import _in_turn
from scripts.benchmark import benchmark
from scripts.benchmarks.in_turn import time_in_turn
from scripts.benchmarks.inference import measure_inference
from scripts.benchmarks.metrics import measure_metrics
from scripts.benchmarks.options import BenchmarkOptions
from scripts.benchmarks.peak_memory import peak_mib
from scripts.benchmarks.prepare import measure_prepare
from scripts.benchmarks.report import PARTS, measure
from scripts.benchmarks.step import make_batch, make_steps, measure_step

TINY = BenchmarkOptions(
    width=2, levels=1, size=32, batch_size=4, modalities=2, volume=(32, 28, 12), cases=3, rounds=1
)


@pytest.fixture
def _no_processes(monkeypatch):
    """A process of its own costs seconds of imports; that it is measured is tested once."""
    for part in ("step", "inference"):
        monkeypatch.setattr(f"scripts.benchmarks.{part}.peak_mib", lambda work, *values: 1.0)


def weights_of(steps) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    ours, plain = steps
    return list(ours.network.branches.parameters()), [p for b in plain.branches for p in b.parameters()]


@pytest.mark.parametrize("modalities", [1, 2, 3])
def test_ours_and_the_plain_reference_learn_the_same(modalities):
    options = replace(TINY, step_modalities=modalities, levels=2, width=4)
    steps = make_steps(options, torch.float64)
    batch = make_batch(options, torch.float64)
    before = [p.clone() for p in weights_of(steps)[0]]
    assert all(p.is_contiguous() for p in weights_of(steps)[1])
    for _ in range(3):
        joint, separate = (each.step(*batch).item() for each in steps)
        assert joint == pytest.approx(separate, abs=1e-9)
    for own, plain in zip(*weights_of(steps), strict=True):
        torch.testing.assert_close(own, plain, rtol=0, atol=1e-9)
    assert max((a - b).abs().max().item() for a, b in zip(before, weights_of(steps)[0], strict=True)) > 1e-3


def test_every_term_of_the_reference_is_at_work():
    for term in ("classification", "er", "kd", "cmer"):
        losses = []
        for weight in (1.0, 5.0):
            ours, plain = make_steps(TINY, torch.float64)
            ours.loss.set_weight(term, weight)
            plain.weights[term] = weight
            batch = make_batch(TINY, torch.float64)
            losses.append(plain.step(*batch).item())
            assert losses[-1] == pytest.approx(ours.step(*batch).item(), abs=1e-9)
        assert losses[1] > losses[0]


def test_both_views_in_one_batch_is_another_computation():
    one_batch = make_steps(TINY, torch.float64, views_in_one_batch=True)[0]
    plain = make_steps(TINY, torch.float64)[1]
    batch = make_batch(TINY, torch.float64)
    assert abs(one_batch.step(*batch).item() - plain.step(*batch).item()) > 1e-6


@pytest.mark.usefixtures("_no_processes")
@pytest.mark.parametrize(
    ("measured", "names"),
    [
        (measure_step, ("ratio", "views_in_one_batch_gain", "data_wait_frac", "plain_seconds", "peak_mib")),
        (measure_inference, ("ratio", "ratio_float32", "reading_seconds", "peak_mib", "peak_mib_many")),
        (measure_prepare, ("ratio", "cases_per_second", "unpack_frac", "read_frac")),
        (measure_metrics, ("ratio", "seconds_per_case", "seconds_32_cases")),
    ],
)
def test_figures_are_flat_positive_and_finite(measured, names, monkeypatch):
    # starting workers is prepare_cohort's own, tested with it
    monkeypatch.setattr("bundle.data.run_jobs._in_parallel", lambda jobs, workers: _in_turn(jobs))
    found = measured(TINY)
    assert set(names) <= set(found)
    assert json.loads(json.dumps(found)) == found
    figures = [value for value in found.values() if not isinstance(value, str)]
    assert all(isinstance(value, (int, float)) and math.isfinite(value) and value > 0 for value in figures)


def test_figures_of_all_parts_have_the_part_in_front(monkeypatch):
    monkeypatch.setattr(
        "scripts.benchmarks.report.PARTS", dict.fromkeys(PARTS, lambda options: {"ratio": 2.0})
    )
    found = measure("all", TINY)
    assert all(found[f"{part}_ratio"] == 2.0 for part in PARTS)
    assert {"ratio", "threads", "width"} <= set(measure("step", TINY))


def test_the_command_writes_what_it_prints(tmp_path, capsys):
    file = tmp_path / "figures" / "metrics.json"
    benchmark("metrics", json=str(file), volume="24,24,8", rounds="1", modalities="2")
    figures = json.loads(file.read_text())
    assert figures["volume"] == "24x24x8"
    assert figures["modalities"] == 2
    assert "ratio" in capsys.readouterr().out


def test_variants_take_turns():
    order: list[str] = []
    time_in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2, warm_up=0)
    assert order == ["a", "b", "b", "a"]


def test_peak_memory_is_that_of_the_work_alone():
    ballast = bytearray(700 * 2**20)  # of this process, which the other one must not be charged for
    ballast[::4096] = b"x" * len(ballast[::4096])
    assert peak_mib(bytes, 2**20) < 700


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"part": "steps"}, "benchmark 'steps' is unknown; .*did you mean step"),
        ({"part": "step", "rounds": "0"}, "--rounds is 0, expected at least 1"),
        ({"part": "step", "width": "wide"}, "--width is 'wide', expected a whole number"),
        ({"part": "metrics", "volume": "240,240"}, "--volume has 2 numbers, expected 3"),
    ],
)
def test_bad_arguments_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        benchmark(**given)
