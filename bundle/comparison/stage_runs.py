"""Making of runs that are no single training: the default chain, and an intensity threshold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.chain import ChainOptions, run_chain
from bundle.comparison.intensity_baseline import score_baseline
from bundle.comparison.workflows import open_evaluator, take_over

# Seconds of training (``None``: not known), what it was made by, and what `results_store.read_result` needs.
Made = tuple[float | None, dict[str, Any], dict[str, Any]]


def make_chain(request: Mapping[str, Any], folder: Path, made: Path) -> Made:
    """All stages of the default chain, scored by its masks and by those of its CAM stage."""
    about, options = request["about"], request["training"]
    report = run_chain(
        ChainOptions(
            Path(request["dataset_dir"]),
            folder,
            modalities=about["modalities"],
            seed=about["seed"],
            splits=request["evaluation"]["splits"],
            evaluate=True,
            **options,
        )
    )
    config = {"stages": report["stages"], "options": options}
    scored = take_over(folder / "evaluation", made, "cam")
    own = {**request["evaluation"], "checkpoint": str(folder / "cam" / "models" / "model.pt")}
    workflow = open_evaluator(request, folder / "cam_stage", own)
    workflow.run()
    workflow.finalize()
    rows = take_over(folder / "cam_stage", made, "cam_stage")["rows"]
    scored |= {"rows": {**scored["rows"], **rows}, "readouts": [*scored["readouts"], *rows]}
    return (
        sum(stage["seconds"] for stage in report["stages"]),
        config,
        {**scored, "made_by": report["made_by"]},
    )


def make_baseline(request: Mapping[str, Any], folder: Path, made: Path) -> Made:
    """An intensity threshold, which needs no training."""
    options = dict(request["evaluation"])
    score_baseline(
        options["rule"], request["dataset_dir"], folder, options["modalities"], splits=options["splits"]
    )
    return 0.0, options, take_over(folder, made, "cam")
