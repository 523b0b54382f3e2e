"""Runs side by side, each in a process of its own: what is there is skipped, what fails is named at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bundle.comparison.cohort import Cohort
from bundle.comparison.one_run import device_name
from bundle.comparison.plan import folder_of
from bundle.comparison.results_store import code_version, find_result
from bundle.comparison.runs import CHAIN, INTENSITY, Run
from bundle.configuration import BUNDLE_ROOT
from bundle.data.cache import write_json

POLL_SECONDS = 0.2


@dataclass
class Outcome:
    """What came of a list of runs.

    Args:
        found: folder of each run's result.
        made: names of those made now.
        failed: run to the reason and the log.
        missing: runs that were left to other shards.
    """

    found: dict[str, Path] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def execute(
    runs: Sequence[Run],
    cohort: Cohort,
    output_dir: Path,
    stores: Sequence[Path],
    jobs: int,
    shard: tuple[int, int] = (0, 1),
    panels: frozenset[Any] = frozenset(),
    labels: Mapping[str, Any] | None = None,
) -> Outcome:
    """Make the runs that no store has.

    Args:
        runs: what is needed.
        cohort: the data.
        output_dir: of the comparison: ``runs/`` for trainings, ``results/`` for results.
        stores: where results may lie already.
        jobs: processes at once; with GPUs each is given one in turn.
        shard: (i, n): only every n-th run, from the i-th, counted from 0.
        panels: specs whose result must hold a slice for pictures.
        labels: noted with each result, such as scale and recipe.
    """
    outcome = Outcome()
    todo = []
    for position, run in enumerate(runs):
        found = find_result(run, stores, run.spec in panels)
        if found is not None:
            outcome.found[run.name] = found
        elif position % shard[1] == shard[0]:
            todo.append(run)
        else:
            outcome.missing.append(run.name)
    requests = [write_request(run, cohort, output_dir, labels or {}) for run in todo]
    for run, log, status in _in_parallel(todo, requests, jobs):
        if status == 0:
            outcome.found[run.name] = output_dir / "results" / run.name
            outcome.made.append(run.name)
        elif (found := find_result(run, stores, run.spec in panels)) is not None:
            outcome.found[run.name] = found
            tqdm.write(
                f"{run.name}: ended with an error, but its result is there (log: {log})", file=sys.stderr
            )
        else:
            outcome.failed[run.name] = f"{_last_line(log)} (log: {log})"
            tqdm.write(f"failed: {run.name}: {outcome.failed[run.name]}", file=sys.stderr)
    return outcome


def write_request(
    run: Run, cohort: Cohort, output_dir: Path, labels: Mapping[str, Any], rehearsal: Path | None = None
) -> Path:
    """What one process is asked for, as a file; see `one_run.perform`."""
    folder = folder_of(output_dir, run)
    about = {
        "method": run.spec.method,
        "modalities": list(run.spec.modalities),
        "network": run.spec.network,
        "early_fusion": run.spec.early_fusion,
        "base": run.spec.base,
        "options": [list(pair) for pair in run.spec.options],
        "label": run.spec.label,
        "read_as": list(run.spec.readouts),
        "seed": run.seed,
        "fold": run.fold,
        "identity": run.identity,
        "data": {"source": cohort.source, "spatial_size": cohort.spatial_size, "cases": cohort.cases},
        "epochs": run.config["epochs"],
        "code_version": code_version(),
        **labels,
    }
    request = {
        "folder": str(folder.resolve()),
        "result": str((output_dir / "results" / run.name).resolve()),
        "dataset_dir": str(cohort.dataset_dir.resolve()),
        "kind": run.kind,
        "overlays": list(run.overlays),
        "reading_overlays": list(run.overlays if run.reading_overlays is None else run.reading_overlays),
        "training": dict(run.training),
        "evaluation": dict(run.evaluation),
        "readouts": {name: dict(own) for name, own in run.readouts.items()},
        "about": about,
        "parent": os.getpid(),
        **({} if rehearsal is None else {"rehearsal": str(rehearsal.resolve())}),
    }
    path = folder / ("request.json" if rehearsal is None else "rehearsal_request.json")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, request)
    return path


def _in_parallel(runs: Sequence[Run], requests: Sequence[Path], jobs: int) -> Iterator[tuple[Run, Path, int]]:
    """Start processes, at most `jobs` at once; yields each as it ends. None outlives this one."""
    waiting = list(zip(runs, requests, strict=True))
    active: dict[int, tuple[Run, Path, subprocess.Popen[bytes]]] = {}  # by slot, to which a GPU belongs
    total = sum(run.cost for run in runs)
    layout = "{l_bar}{bar}| {elapsed} gone, {remaining} left{postfix}"
    with tqdm(total=total, desc="runs", bar_format=layout, disable=not runs) as bar, _stopping(active):
        done = 0
        bar.set_postfix_str(f"0 of {len(runs)} runs", refresh=True)
        while waiting or active:
            for slot in range(jobs):
                if slot not in active and waiting:
                    run, request = waiting.pop(0)
                    log = request.with_name("log.txt")
                    active[slot] = (run, log, _start(request, log, slot, jobs))
            time.sleep(POLL_SECONDS)
            for slot, (run, log, process) in list(active.items()):
                if process.poll() is not None:
                    del active[slot]
                    done += 1
                    bar.set_postfix_str(f"{done} of {len(runs)} runs", refresh=False)
                    bar.update(run.cost)
                    yield run, log, process.returncode


def _start(request: Path, log: Path, slot: int, jobs: int) -> subprocess.Popen[bytes]:
    gpus = torch.cuda.device_count()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(BUNDLE_ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    if gpus > 1:
        own = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        environment["CUDA_VISIBLE_DEVICES"] = own[slot % gpus]
    if jobs > 1:  # processes that share cores: one thread each, unless the user says otherwise
        environment.setdefault("OMP_NUM_THREADS", str(max(1, own_cores() // jobs)))
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "bundle.comparison.one_run", str(request)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # a chain starts processes of its own, which must end with it
        )


@contextmanager
def _stopping(active: Mapping[int, tuple[Run, Path, subprocess.Popen[bytes]]]) -> Iterator[None]:
    try:
        yield
    finally:
        for _, _, process in active.values():
            end_group(process)
        for _, _, process in active.values():
            process.wait()


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process, and with it those that it started if it leads a group."""
    if process.poll() is None and hasattr(os, "killpg") and os.getpgid(process.pid) == process.pid:
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.terminate()


def own_cores() -> int:
    """Cores that this process may use, which on a shared machine are fewer than it has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _last_line(log: Path) -> str:
    """The error that a traceback ends with."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    causes = [line for line in lines if line.startswith("error: ")]  # printed last, without MONAI's wrapping
    errors = causes or [line for line in lines if "Error: " in line and not line.startswith(" ")]
    return (errors or [line for line in lines if line.strip()] or ["no output"])[-1].strip()


@dataclass(frozen=True)
class Estimate:
    """What a run will take, from a few of its steps.

    Args:
        name: of its spec.
        runs: how many seeds and folds.
        seconds_per_step: of one step.
        hours: of one training; evaluation not included.
    """

    name: str
    runs: int
    seconds_per_step: float
    hours: float


def rehearse_all(
    runs: Sequence[Run], cohort: Cohort, output_dir: Path
) -> tuple[list[Estimate], dict[str, str]]:
    """Two timed steps of every distinct training, one after another, before the whole is begun; not of chains.

    A rehearsal that was done on this kind of device is not repeated.

    Args:
        runs: what is planned.
        cohort: the data.
        output_dir: of the comparison; measurements are kept in ``rehearsals/``.

    Returns:
        What each takes, and those that cannot take a step, with the reason.
    """
    distinct: dict[Any, list[Run]] = {}
    for run in (run for run in runs if run.kind not in (CHAIN, INTENSITY)):
        distinct.setdefault(run.spec, []).append(run)
    folder = output_dir / "rehearsals" / device_name().replace(" ", "_").replace(",", "")
    files = {spec: folder / f"{found[0].name}.json" for spec, found in distinct.items()}
    first = [found[0] for spec, found in distinct.items() if not files[spec].is_file()]
    requests = [write_request(run, cohort, output_dir, {}, files[run.spec]) for run in first]
    failed = {}
    for run, log, status in _in_parallel(first, requests, 1):
        if status:
            failed[run.spec.name] = f"{_last_line(log)} (log: {log})"
    estimates = []
    for spec, found in distinct.items():
        if spec.name in failed:
            continue
        measured = json.loads(files[spec].read_text(encoding="utf-8"))
        steps = measured["steps_per_epoch"] * int(found[0].config["epochs"])
        hours = steps * measured["seconds_per_step"] / 3600
        estimates.append(Estimate(spec.name, len(found), measured["seconds_per_step"], hours))
    return estimates, failed
