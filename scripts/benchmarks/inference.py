"""Inference of whole cases, from raw scans to written masks, against bare forward passes of their slices."""

from __future__ import annotations

import copy
import io
import json
import statistics
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.engines.utils import IterationEvents
from torch import nn

from bundle.data import CaseRecord
from bundle.inferers.precision import autocast, resolve_precision
from scripts.benchmarks.configured import configured
from scripts.benchmarks.in_turn import median_ratio, time_in_turn
from scripts.benchmarks.options import BenchmarkOptions
from scripts.benchmarks.peak_memory import peak_mib
from scripts.benchmarks.synthetic_scans import write_scans


class _Stages:
    """When an evaluator stood where: seconds of its last run, stage by stage."""

    def __init__(self, evaluator: Engine) -> None:
        self.seconds: dict[str, float] = {}
        self._last = 0.0
        evaluator.add_event_handler(Events.GET_BATCH_STARTED, self._mark, None)
        evaluator.add_event_handler(Events.GET_BATCH_COMPLETED, self._mark, "reading_seconds")
        evaluator.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._mark, "maps_seconds")
        evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._mark, "writing_seconds")
        evaluator.add_event_handler(Events.COMPLETED, self._mark, "sheet_seconds")

    def _mark(self, engine: Engine, name: str | None) -> None:
        now = time.perf_counter()
        if name is not None:
            self.seconds[name] = now - self._last
        self._last = now


def measure_inference(options: BenchmarkOptions) -> dict[str, Any]:
    """``ratio`` is the whole of configs/inference.yaml for one case / bare forward passes (target: at most
    1.3), with the same network, precision and layout, in the precision that the device computes fastest and,
    as ``ratio_float32``, in single precision.

    The whole is loading the weights, reading one .nii.gz file a modality, finding foreground and statistics,
    the passes, maps, fusion, the scan's own grid and saving. The contact sheet is drawn once for all cases,
    so it stands apart in ``sheet_seconds``; picking the slice that it shows is part of the whole.
    ``peak_mib`` is that of a process that runs one case, ``peak_mib_many`` of one that runs several.
    """
    names = options.names(options.modalities)
    found: dict[str, Any] = {"volume": "x".join(map(str, options.volume)), "modalities": options.modalities}
    with TemporaryDirectory(prefix="benchmark_") as folder:
        record = write_scans(Path(folder), names, options.volume, cases=1)[0]
        _write_weights(Path(folder), options, record)
        found |= _against_bare(Path(folder), options, record, "auto")
        if resolve_precision("cpu", "auto") != "float32":
            single = _against_bare(Path(folder), options, record, "float32")
            found |= {f"{name}_float32": single[name] for name in ("ratio", "whole_seconds", "bare_seconds")}
        else:
            found["ratio_float32"] = found["ratio"]
        found["peak_mib"] = peak_mib(_run_cases, folder, options, record, 1)
        found["peak_mib_many"] = peak_mib(_run_cases, folder, options, record, options.cases)
    return {**found, "cases_many": options.cases}


def _against_bare(
    folder: Path, options: BenchmarkOptions, record: CaseRecord, precision: str
) -> dict[str, float]:
    parser = _parser(folder, options, record, 1, precision)
    evaluator, network = parser.get_parsed_content("evaluator"), parser.get_parsed_content("network")
    image = parser.get_parsed_content("dataset")[0]["image"]
    stages = _Stages(evaluator)
    stage_seconds: list[dict[str, float]] = []

    def whole() -> None:
        with redirect_stdout(io.StringIO()):
            evaluator.run()
        stage_seconds.append(dict(stages.seconds))

    bare = _bare_passes(copy.deepcopy(network).eval(), image, options.batch_size, precision)
    seconds = time_in_turn({"whole": whole, "bare": bare}, max(1, options.rounds // 3), warm_up=1)
    counted = stage_seconds[1:]
    seconds["whole"] = [
        run - stage["sheet_seconds"] for run, stage in zip(seconds["whole"], counted, strict=True)
    ]
    return {
        "ratio": median_ratio(seconds["whole"], seconds["bare"]),
        **{f"{name}_seconds": statistics.median(values) for name, values in seconds.items()},
        **{name: statistics.median(stage[name] for stage in counted) for name in counted[0]},
    }


def _bare_passes(
    network: nn.Module, image: torch.Tensor, batch_size: int, precision: str
) -> Callable[[], None]:
    """Forward passes of all slices of (K, H, W, S), which lie ready in memory as the network takes them."""
    slices = image.permute(3, 0, 1, 2)
    parts = [part.contiguous(memory_format=torch.channels_last) for part in slices.split(batch_size)]

    def run() -> None:
        with torch.no_grad(), autocast(image.device, precision):
            for part in parts:
                network(part)

    return run


def _parser(
    folder: Path, options: BenchmarkOptions, record: CaseRecord, cases: int, precision: str = "auto"
) -> ConfigParser:
    """configs/inference.yaml for one scan under so many names."""
    files = [str(source.path) for source in record.images.values()]
    datalist = folder / f"datalist_{cases}.json"
    datalist.write_text(json.dumps([{"image": files, "case": f"{n:03d}"} for n in range(cases)]))
    changes = {
        "datalist": str(datalist),
        "output_dir": str(folder / "run"),
        "precision": precision,
        "device": "$torch.device('cpu')",
    }
    parser = configured("inference.yaml", options, list(record.images), **changes)
    quiet = [item for item in parser["handlers"] if "ProgressBar" not in item["_target_"]]
    parser["handlers"] = quiet
    parser.parse(True)
    return parser


def _write_weights(folder: Path, options: BenchmarkOptions, record: CaseRecord) -> None:
    """Weights whose maps follow the image, so that masks are as compact as a trained network's."""
    torch.manual_seed(0)
    network = _parser(folder, options, record, 1).get_parsed_content("network_def")
    for branch in network.branches:
        nn.init.constant_(
            branch.evidence.weight, 1.0
        )  # evidence is what the last, positive features add up to
    path = folder / "run" / "models" / "model.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), path)
    path.with_suffix(".json").write_text("{}", encoding="utf-8")  # no settings to compare with


def _run_cases(folder: str, options: BenchmarkOptions, record: CaseRecord, cases: int) -> None:
    evaluator = _parser(Path(folder), options, record, cases).get_parsed_content("evaluator")
    with redirect_stdout(io.StringIO()):
        evaluator.run()
