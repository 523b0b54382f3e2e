"""The training and the evaluation of a run as MONAI workflows, and what of their files becomes its result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from bundle.comparison.merging import config_files
from bundle.metrics.report import read_rows


def open_trainer(request: Mapping[str, Any], output_dir: Path, options: Mapping[str, Any]) -> ConfigWorkflow:
    """The training of a request, initialised.

    Args:
        request: see `one_run.perform`.
        output_dir: of the training.
        options: by config id.
    """
    return _workflow(config_files(request["kind"], request["overlays"]), request, output_dir, options)


def open_evaluator(
    request: Mapping[str, Any], output_dir: Path, options: Mapping[str, Any]
) -> ConfigWorkflow:
    """Its evaluation, likewise."""
    return _workflow(config_files("evaluate", request["reading_overlays"]), request, output_dir, options)


def _workflow(
    files: list[str], request: Mapping[str, Any], output_dir: Path, options: Mapping[str, Any]
) -> ConfigWorkflow:
    workflow = ConfigWorkflow(
        files,
        run_id="run",
        logging_file=False,
        workflow_type=None,
        dataset_dir=request["dataset_dir"],
        output_dir=str(output_dir),
        **options,
    )
    workflow.initialize()
    return workflow


def take_over(scored: Path, made: Path, readout: str) -> dict[str, Any]:
    """Copy the scores of an evaluation into a result.

    Args:
        scored: folder with ``metrics.csv`` and ``summary.json``.
        made: the result's folder.
        readout: under whose name.

    Returns:
        What `read_result` needs of it.
    """
    shutil.copyfile(scored / "metrics.csv", made / f"{readout}.csv")
    return {
        "readouts": [readout],
        "rows": {readout: len(read_rows(scored / "metrics.csv"))},
        "panel": None,
        **curves_of(json.loads((scored / "summary.json").read_text(encoding="utf-8"))),
    }


def curves_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Dice over the thresholds of each map, from an evaluation's summary."""
    curves = {name: found["dice_curve"] for name, found in summary["maps"].items()}
    return {
        "thresholds": next(iter(curves.values()))["thresholds"],
        "curves": {name: [round(v, 5) for v in curve["mean_dice"]] for name, curve in curves.items()},
    }
