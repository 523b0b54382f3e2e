"""Which runs a table needs, each under the hash of all that decides its result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from bundle.comparison.cohort import Cohort
from bundle.comparison.merging import (
    decisive,
    hash_of,
    ids_of,
    in_order,
    merge,
    overlays_of,
    shared_with_evaluation,
)
from bundle.comparison.paper_cells import PAIRS
from bundle.comparison.plan_stages import plan_baseline, plan_chain, plan_mask_segmenter
from bundle.comparison.runs import (
    CHAIN,
    INTENSITY,
    MASK_SEGMENTER,
    PAPER_READOUTS,
    READING_IDS,
    READOUTS,
    Run,
    RunSpec,
)
from bundle.comparison.scales import RECIPES, Scale
from bundle.configuration import reading_overlays
from bundle.data.modality_names import meaning
from bundle.data.names import nearest_name

NETWORK_IDS = ("width", "levels", "precision")  # of a scale's options, those that evaluation needs, too
STAGES = {CHAIN: plan_chain, MASK_SEGMENTER: plan_mask_segmenter, INTENSITY: plan_baseline}


def plan_runs(
    specs: Iterable[RunSpec],
    cohort: Cohort,
    scale: Scale,
    seeds: Sequence[int],
    recipe: str | None = None,
    anatomy: str = "brain",
    imagenet_weights: Path | None = None,
) -> list[Run]:
    """Every spec with every seed and fold, in the order of the table; each run once.

    Args:
        specs: what the tables need.
        cohort: the data.
        scale: what all runs have in common.
        seeds: of the trainings.
        recipe: key of `RECIPES`; the scale's own by default.
        anatomy: which of the scale's options hold.
        imagenet_weights: file that DeepLabv3 starts from; its content is part of the hash, its place is not.

    Raises:
        ValueError: for an unknown recipe, method or network.
        FileNotFoundError: there are no such weights.
    """
    weights = None
    if imagenet_weights is not None:
        if not imagenet_weights.is_file():
            raise FileNotFoundError(f"--imagenet_weights {imagenet_weights}: found no such file; correct it")
        weights = (str(imagenet_weights.resolve()), hashlib.sha256(imagenet_weights.read_bytes()).hexdigest())
    chosen = recipe or scale.recipe
    if chosen not in RECIPES:
        raise ValueError(f"--recipe {chosen!r} is unknown; {nearest_name(chosen, RECIPES)}")
    seeds = list(dict.fromkeys(seeds))
    # fold and seed outside: a table is complete for one seed before the next begins
    return [
        STAGES[spec.method](spec, seed, fold, cohort, scale)
        if spec.method in STAGES
        else _plan(spec, seed, fold, cohort, scale, RECIPES[spec.base or chosen], anatomy, weights)
        for seed in seeds
        for fold in cohort.splits
        for spec in dict.fromkeys(specs)
        if seed == seeds[0] or spec.method != INTENSITY  # which has no seed
    ]


def _plan(
    spec: RunSpec,
    seed: int,
    fold: int | None,
    cohort: Cohort,
    scale: Scale,
    recipe: Sequence[str],
    anatomy: str,
    weights: tuple[str, str] | None,
) -> Run:
    own = overlays_of(spec)
    overlays = in_order([*recipe, *own])
    deeplab = spec.network == "deeplabv3"
    options = dict(scale.options[anatomy] if recipe else scale.defaults)
    options |= scale.deeplabv3 if deeplab else {}
    # what a network or a method sets for itself is what it is about
    options = {name: value for name, value in options.items() if name not in ids_of(own)}
    if deeplab and weights is not None:
        options["imagenet_weights"] = weights[0]
    shared: dict[str, Any] = {"modalities": list(spec.modalities), "splits": cohort.splits[fold]}
    network = {name: value for name, value in options.items() if name in NETWORK_IDS}
    trained = {name: value for name, value in spec.options if name.split("#")[0] not in READING_IDS}
    training = {**options, **shared, **trained, "seed": seed}
    evaluation = {
        **network,
        **shared,
        **shared_with_evaluation(dict(spec.options)),
        "also_fuse": [] if spec.readouts else _groups(spec),
    }
    reading = reading_overlays(overlays)
    train, evaluate = merge("train", overlays, training), merge("evaluate", reading, evaluation)
    readouts = _readouts(spec, evaluate)
    hashed = {
        "train": decisive(train),
        "imagenet_weights": weights[1] if deeplab and weights is not None else None,
        "evaluate": decisive(evaluate),
        "readouts": readouts,
        "data": cohort.digests[fold],
    }
    identity = hash_of(hashed)
    return Run(
        *(spec, seed, fold, overlays, training, evaluation, readouts, identity, train, evaluate),
        reading_overlays=None if reading == tuple(overlays) else reading,
    )


def _readouts(spec: RunSpec, evaluate: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Those that the spec names, else the paper's, as far as there is a logit of the slice to explain."""
    segmenter = evaluate["method"] == "bundle.inferers.ProbabilityInferer"
    names = spec.readouts or PAPER_READOUTS[: 1 if segmenter else None]
    return {name: dict(READOUTS[name]) for name in names}


def _groups(spec: RunSpec) -> list[str]:
    """The paper's pairs among more than two branches, fused beside all of them."""
    if spec.early_fusion or len(spec.modalities) < 3:
        return []
    pairs = {frozenset(pair) for pair in PAIRS}
    return [
        "-".join(pair)
        for pair in combinations(spec.modalities, 2)
        if frozenset(meaning(name) for name in pair) in pairs
    ]


def folder_of(output_dir: Path, run: Run) -> Path:
    """Where a run trains."""
    return output_dir / "runs" / run.name
