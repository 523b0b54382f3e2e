"""One run in a process of its own: train, evaluate by each readout, keep the result. ``python -m …one_run FILE``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import monai
import torch
import yaml
from ignite.engine import Events

from bundle.comparison.locks import locked
from bundle.comparison.merging import UNHASHED, quiet_monai
from bundle.comparison.panels import PanelKeeper
from bundle.comparison.results_store import ABOUT, PANEL, is_complete
from bundle.comparison.runs import CHAIN, INTENSITY
from bundle.comparison.stage_runs import Made, make_baseline, make_chain
from bundle.comparison.workflows import curves_of, open_evaluator, open_trainer
from bundle.data.cache import write_json
from bundle.inferers import resolve_precision
from bundle.metrics.report import read_rows

MAKERS = {CHAIN: make_chain, INTENSITY: make_baseline}  # other kinds are trained and evaluated
REHEARSED_STEPS = 3  # the first one warms up


def perform(request: Mapping[str, Any]) -> None:
    """Make what `execution.write_request` asks for, unless it is there.

    The run's folder is locked meanwhile, so that nobody else writes into it; a second process waits, then finds
    the result. Training goes on from its last epoch if it was interrupted.

    Args:
        request: ``kind``, ``folder`` of the run, ``result`` folder to appear, ``dataset_dir``, ``overlays`` and
            ``reading_overlays``, ``training`` and ``evaluation`` options, ``readouts``, and ``about``: what is known of
            the run already.
    """
    quiet_monai()
    folder, result = Path(request["folder"]), Path(request["result"])
    with locked(folder / "lock"):
        if is_complete(result, need_panel=True):
            return
        version = _note_version(folder, request["about"]["code_version"])
        made = result.with_name(f".partial_{result.name}")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        seconds, config, scored = MAKERS.get(request["kind"], _train_and_evaluate)(request, folder, made)
        (made / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        about = {
            **request["about"],
            "code_version": version,
            "seconds": seconds,
            **_surroundings(config),
            **scored,
        }
        write_json(made / ABOUT, about)
        shutil.rmtree(result, ignore_errors=True)  # damaged, or it would not be made again
        made.replace(result)


def rehearse(request: Mapping[str, Any]) -> None:
    """Two timed training steps at full size, and the evaluation's config resolved; writes the seconds a step takes."""
    quiet_monai()
    folder, file = Path(request["folder"]), Path(request["rehearsal"])
    with locked(folder / "lock"):
        if file.is_file():
            return
        times: list[float] = []
        options = {"epochs": 1, "train#trainer#epoch_length": REHEARSED_STEPS, "train#handlers": []}
        workflow = open_trainer(request, folder, {**request["training"], **options})
        trainer = workflow.parser.get_parsed_content("train#trainer")
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: times.append(_now()))
        workflow.run()
        steps = len(workflow.parser.get_parsed_content("train#dataloader"))
        open_evaluator(request, folder, request["evaluation"]).parser.get_parsed_content("inferer")
        per_step = (times[-1] - times[0]) / (len(times) - 1)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"seconds_per_step": per_step, "steps_per_epoch": steps})


def _note_version(folder: Path, version: str) -> str:
    """Of the code that began the run and, if it is another, of the one that goes on with it."""
    noted = folder / "code_version.txt"
    if not noted.is_file():
        noted.write_text(version, encoding="utf-8")
    began = noted.read_text(encoding="utf-8")
    return version if began == version else f"{began} to {version}"


def _train_and_evaluate(request: Mapping[str, Any], folder: Path, made: Path) -> Made:
    seconds, config = _train(request, folder)
    return seconds, config, _evaluate(request, folder, made)


def _train(request: Mapping[str, Any], folder: Path) -> tuple[float | None, dict[str, Any]]:
    """Train to the end; the seconds it took, unless only a part of it happened now, and the merged config."""
    interrupted = (folder / "checkpoints" / "last.pt").is_file()
    started = time.monotonic()
    workflow = open_trainer(request, folder, request["training"])
    config = {name: value for name, value in workflow.parser.get().items() if name not in UNHASHED}
    workflow.run()
    workflow.finalize()
    return None if interrupted else round(time.monotonic() - started, 1), config


def _evaluate(request: Mapping[str, Any], folder: Path, made: Path) -> dict[str, Any]:
    """Score the test cases by each readout; curves and the picture are those of the first."""
    scored: dict[str, Any] = {"readouts": list(request["readouts"]), "rows": {}}
    for readout, own in request["readouts"].items():
        place = folder / readout
        options = {**request["evaluation"], **own, "checkpoint": str(folder / "models" / "model.pt")}
        workflow = open_evaluator(request, place, options)
        parser = workflow.parser
        keeper = PanelKeeper(parser.get_parsed_content("map_names"))
        if "curves" not in scored:
            keeper.attach(parser.get_parsed_content("evaluator"))
        workflow.run()
        workflow.finalize()
        shutil.copyfile(place / "metrics.csv", made / f"{readout}.csv")
        scored["rows"][readout] = len(read_rows(place / "metrics.csv"))
        if "curves" not in scored:
            scored["panel"] = keeper.save(made / PANEL, read_rows(place / "metrics.csv"))
            scored |= curves_of(json.loads((place / "summary.json").read_text(encoding="utf-8")))
    return scored


def _surroundings(config: Mapping[str, Any]) -> dict[str, Any]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {
        "device": device_name(),
        "precision": str(resolve_precision(device, config.get("precision", "auto"))),
        "versions": {"torch": torch.__version__, "monai": monai.__version__},
    }


def device_name() -> str:
    """Of what trains: the GPU's name, or CPU."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _die_with_parent(parent: int, after: Callable[[], None]) -> None:
    """A run whose comparison was killed would go on alone, holding the cores."""
    while os.getppid() == parent:
        time.sleep(1)
    after()


def _end() -> None:
    """End this process and, if it leads a group, those that it started."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(3)


def main(path: str) -> None:
    """Do what the request in the JSON file says."""
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    watch = threading.Thread(target=_die_with_parent, args=(request["parent"], _end), daemon=True)
    watch.start()
    rehearse(request) if "rehearsal" in request else perform(request)


if __name__ == "__main__":
    main(sys.argv[1])
