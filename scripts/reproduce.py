"""The paper's tables and figures on your data: ``python -m scripts.reproduce TABLE --dataset_dir D --output_dir R``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from bundle.comparison.execution import own_cores
from bundle.comparison.reproduction import COMMITTED, Wishes, parse_shard, reproduce_tables
from bundle.comparison.scales import find_scale
from bundle.data.names import name_list
from scripts.command_line import numbers, run, switch, text, whole


def reproduce(
    table: str,
    *,
    dataset_dir: str | None = None,
    output_dir: str | None = None,
    seeds: str = "0",
    folds: str | None = None,
    scale: str = "small",
    recipe: str | None = None,
    pairs: str | None = None,
    also: str | None = None,
    against: str | None = None,
    shard: str = "0/1",
    jobs: str | None = None,
    results: str | None = str(COMMITTED),
    plan: str = "False",
    anatomy: str | None = None,
    modalities: str | None = None,
    imagenet_weights: str | None = None,
) -> int:
    """Makes tables and figures of the paper: runs what has no result yet, writes Markdown, CSV and pictures.

    Run it again to go on after an interruption. Files appear in output_dir/tables.

    Args:
        table: table1 to table7, figure4 to figure8, several with commas between, all; or our own beyond, few.
        dataset_dir: prepared data set, folder of scans (BraTS or decathlon layout, with masks), or the word phantom.
        output_dir: for runs, their results, and tables.
        seeds: of the trainings, such as 0,1,2.
        folds: number of folds of the data set; without, its own split.
        scale: smoke (does it work?), small (the default: 1 to 2 CPU minutes a run) or paper (its full protocol).
        recipe: ours or paper; by default ours, at the scale paper the paper's.
        pairs: which of t1-t2, t1c-flair, t1-flair, t1c-t2, all (four) and t2-adc; by default each.
        also: further methods as rows, such as seam (configs/method_seam.yaml).
        against: paper, to show the published figures beside.
        shard: i/n makes every n-th run only, i from 0; run without it at the end.
        jobs: processes at once, by default one a GPU, else one a core.
        results: folder of results to take over, by default those of this project; none for none.
        plan: say what would be run (at the scale paper with hours), and stop.
        anatomy: of the phantom, brain or prostate; by default what the tables are about.
        modalities: which of the data's, such as t1c,flair; by default all (a raw BraTS folder must have all four).
        imagenet_weights: torchvision's resnet50 state dict, for DeepLabv3 at its full width.
    """
    if text(dataset_dir) is None or text(output_dir) is None:
        raise ValueError("--dataset_dir and --output_dir are both needed; the first may be the word phantom")
    if text(against) not in (None, "paper"):
        raise ValueError(f"--against is {against!r}, expected paper; correct it or leave it out")
    wishes = Wishes(
        tables=name_list(table),
        dataset_dir=str(dataset_dir),
        output_dir=Path(str(output_dir)),
        scale=find_scale(scale),
        recipe=text(recipe) or "",
        seeds=numbers("seeds", seeds, int),
        folds=whole("folds", folds),
        pairs=name_list(pairs) if text(pairs) else (),
        also=name_list(also) if text(also) else (),
        against_paper=text(against) == "paper",
        shard=parse_shard(shard),
        jobs=whole("jobs", jobs) or torch.cuda.device_count() or own_cores(),
        only_plan=switch("plan", plan),
        results=Path(str(results)) if text(results) else None,
        anatomy=text(anatomy) or "",
        modalities=name_list(modalities) if text(modalities) else (),
        imagenet_weights=Path(str(imagenet_weights)) if text(imagenet_weights) else None,
    )
    try:
        return 1 if reproduce_tables(wishes).outcome.failed else 0
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    run(reproduce)
