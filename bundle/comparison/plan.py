"""Which runs a table needs, each under the hash of all that decides its result."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from bundle.comparison.cohort import Cohort
from bundle.comparison.paper_cells import PAIRS
from bundle.comparison.runs import PROPOSED, READOUTS, RunSpec
from bundle.comparison.scales import RECIPES, Scale
from bundle.configuration import CONFIG_DIR, FREE_IDS
from bundle.data.modality_names import meaning
from bundle.data.names import nearest_name

UNHASHED = FREE_IDS | {"checkpoint", "split", "imagenet_weights"}  # where files lie, not what is computed


@dataclass(frozen=True)
class Run:
    """One training with its evaluations.

    Args:
        spec: what is trained.
        seed: of the training.
        fold: of the data, or ``None``.
        overlays: names of the configs that are merged over the complete ones.
        training: options of the training, by config id.
        evaluation: options of each evaluation.
        readouts: short name to options of its own; the first is the method's own map.
        identity: hash of the merged configs and of the data.
        config: the merged training config.
        reading: the merged evaluation config.
    """

    spec: RunSpec
    seed: int
    fold: int | None
    overlays: tuple[str, ...]
    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    readouts: Mapping[str, Mapping[str, Any]]
    identity: str
    config: Mapping[str, Any]
    reading: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Unique and readable; the name of its folder."""
        fold = "" if self.fold is None else f"_fold{self.fold}"
        return f"{self.spec.name}_seed{self.seed}{fold}_{self.identity}"

    @property
    def cost(self) -> float:
        """Expected length relative to other runs: branches and views."""
        branches = 1 if self.spec.early_fusion else len(self.spec.modalities)
        views = 1 if self.config.get("warps") is None else 2
        return (3.0 if self.spec.network.startswith("deeplab") else 1.0) * (0.5 + branches * views)


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
    # fold and seed outside: a table is complete for one seed before the next begins
    return [
        _plan(spec, seed, fold, cohort, scale, RECIPES[chosen], anatomy, weights)
        for seed in dict.fromkeys(seeds)
        for fold in cohort.splits
        for spec in dict.fromkeys(specs)
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
    own = _overlays_of(spec)
    overlays = _in_order([*recipe, *own])
    deeplab = spec.network == "deeplabv3"
    options = {**scale.options[anatomy], **(scale.deeplabv3 if deeplab else {})}
    # what a network or a method sets for itself is what it is about
    options = {name: value for name, value in options.items() if name not in _ids_of(own)}
    if deeplab and weights is not None:
        options["imagenet_weights"] = weights[0]
    shared: dict[str, Any] = {"modalities": list(spec.modalities), "splits": cohort.splits[fold]}
    network = {name: value for name, value in options.items() if name in ("width", "levels", "precision")}
    training = {**options, **shared, "seed": seed}
    evaluation = {**network, **shared, "also_fuse": _groups(spec)}
    train, evaluate = merge("train", overlays, training), merge("evaluate", overlays, evaluation)
    segmenter = (
        evaluate["method"] == "bundle.inferers.ProbabilityInferer"
    )  # has no logit of the slice to explain
    readouts = {name: dict(given) for name, given in READOUTS.items() if name == "cam" or not segmenter}
    decisive = {
        "train": _decisive(train),
        "imagenet_weights": weights[1] if deeplab and weights is not None else None,
        "evaluate": _decisive(evaluate),
        "readouts": readouts,
        "data": cohort.digests[fold],
    }
    identity = hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()[:10]
    return Run(spec, seed, fold, overlays, training, evaluation, readouts, identity, train, evaluate)


def merge(complete: str, overlays: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The merged config, as ``python -m monai.bundle run`` would see it, unresolved."""
    parser = ConfigParser()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns of every file and of every key that an overlay adds
        parser.read_config(config_files(complete, overlays))
        parser.update(dict(options))
    return {name: value for name, value in parser.get().items() if name != "_meta_"}


def config_files(complete: str, overlays: Sequence[str]) -> list[str]:
    """Paths of a complete config and its overlays, in the order in which they are merged."""
    return [str(CONFIG_DIR / f"{name}.yaml") for name in (complete, *overlays)]


def _overlays_of(spec: RunSpec) -> list[str]:
    named = [f"network_{spec.network}"] if spec.network else []
    named += ["network_early_fusion"] if spec.early_fusion else []
    named += [] if spec.method == PROPOSED else [f"method_{spec.method}"]
    for name in named:
        if not (CONFIG_DIR / f"{name}.yaml").is_file():
            axis = name.split("_")[0]
            known = [file.stem.removeprefix(f"{axis}_") for file in CONFIG_DIR.glob(f"{axis}_*.yaml")]
            wanted = name.removeprefix(f"{axis}_")
            raise ValueError(
                f"{axis} {wanted!r} is unknown (no configs/{name}.yaml); {nearest_name(wanted, known)}"
            )
    return named


def _ids_of(overlays: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for name in overlays:
        found |= set(yaml.safe_load((CONFIG_DIR / f"{name}.yaml").read_text(encoding="utf-8")))
    return found


def _in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Data set, network, method: within an axis the later one wins."""
    axes = ("dataset", "network", "method")
    return tuple(sorted(names, key=lambda name: axes.index(name.split("_")[0])))


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


def _decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in UNHASHED}


def quiet_monai() -> None:
    """Keep MONAI's and ignite's own log lines out of a progress bar."""
    for name in ("monai", "ignite"):
        logging.getLogger(name).setLevel(logging.ERROR)


def folder_of(output_dir: Path, run: Run) -> Path:
    """Where a run trains."""
    return output_dir / "runs" / run.name
