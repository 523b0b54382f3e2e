"""Results of runs on disk: small files that can be committed, found again by the hash in their name."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bundle.comparison.runs import Run, RunResult, RunSpec
from bundle.configuration import BUNDLE_ROOT
from bundle.metrics.report import read_rows

ABOUT = "run.json"  # written last: a result with it is complete
PANEL = "panel.npz"


def find_result(run: Run, stores: Sequence[Path], need_panel: bool = False) -> Path | None:
    """Folder of a run's complete result in the first of the stores that has it.

    Args:
        run: which.
        stores: folders of results, such as ``R/results`` and ``docs/results``.
        need_panel: whether the result must hold the slice for pictures.
    """
    for store in stores:
        if is_complete(store / run.name, need_panel):
            return store / run.name
    return None


def is_complete(folder: Path, need_panel: bool = False) -> bool:
    """Whether a result can be read; one that was damaged is named and counts as absent.

    Args:
        folder: of the result.
        need_panel: whether it must hold its picture, if any of its patients has a lesion.
    """
    if not (folder / ABOUT).is_file():
        return False
    try:
        read_result(folder)
    except (ValueError, KeyError, TypeError, OSError) as error:
        print(f"{folder} is damaged and will be made again: {error!r}")
        return False
    return not need_panel or (folder / PANEL).is_file() or read_about(folder)["panel"] is None


def read_result(folder: Path) -> RunResult:
    """A result as the tables take it.

    Raises:
        ValueError: the files do not belong to a result.
    """
    about = read_about(folder)
    spec = RunSpec(
        about["method"],
        tuple(about["modalities"]),
        about["network"],
        bool(about["early_fusion"]),
        about.get("base", ""),  # results made before there were such rows lack these
        tuple((name, value) for name, value in about.get("options", ())),
        about.get("label", ""),
        tuple(about.get("read_as", ())),
    )
    rows = {readout: read_rows(folder / f"{readout}.csv") for readout in about["readouts"]}
    for readout, found in rows.items():
        if len(found) != about["rows"][readout]:
            raise ValueError(
                f"{folder}: {readout}.csv has {len(found)} rows, expected {about['rows'][readout]}"
            )
    return RunResult(
        spec,
        int(about["seed"]),
        about["fold"],
        rows,
        {name: list(map(float, curve)) for name, curve in about["curves"].items()},
        tuple(about["thresholds"]),
        about["code_version"],
        f"{about['precision']} on {about['device']}",
        math.nan if about["seconds"] is None else float(about["seconds"]),
        folder,
    )


def read_about(folder: Path) -> dict[str, Any]:
    """What is known of a run beside its scores."""
    try:
        return json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{folder}: expected a result with {ABOUT} ({error}); delete the folder") from None


@cache
def code_version() -> str:
    """Commit of the code, with ``+`` where bundle or configs differ from it; without git the bundle's version."""
    git = ["git", "-C", str(BUNDLE_ROOT)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "bundle", "configs"], capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return json.loads((BUNDLE_ROOT / "metadata.json").read_text(encoding="utf-8"))["version"]
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
