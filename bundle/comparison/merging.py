"""Configs as a comparison merges them: a complete one, overlays in the order of their axes, options."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from monai.bundle import ConfigParser

from bundle.comparison.runs import PROPOSED, RunSpec
from bundle.configuration import CONFIG_DIR, FREE_IDS
from bundle.data.names import nearest_name

# Where files lie, not what is computed.
UNHASHED = FREE_IDS | {"checkpoint", "split", "imagenet_weights", "labels_dir"}


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


def decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a merged config decides a result."""
    return {name: value for name, value in config.items() if name not in UNHASHED}


def hash_of(parts: Mapping[str, Any]) -> str:
    """Ten hexadecimal digits that tell one run from another."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:10]


def overlays_of(spec: RunSpec) -> list[str]:
    """Those that a spec names itself; a ``ValueError`` names the nearest known one."""
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


def ids_of(configs: Sequence[str]) -> set[str]:
    """Top-level ids of some configs."""
    found: set[str] = set()
    for name in configs:
        found |= set(yaml.safe_load((CONFIG_DIR / f"{name}.yaml").read_text(encoding="utf-8")))
    return found


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Data set, network, method: within an axis the later one wins."""
    axes = ("dataset", "network", "method")
    return tuple(sorted(names, key=lambda name: axes.index(name.split("_")[0])))


def shared_with_evaluation(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options whose id evaluation has, too, such as ``levels`` and ``cam_reader#scale``.

    >>> shared_with_evaluation({"levels": 2, "epochs": 4, "pooling#decay_per_mille": 0.9})
    {'levels': 2, 'pooling#decay_per_mille': 0.9}
    """
    known = ids_of(["evaluate"])
    return {name: value for name, value in options.items() if name.split("#")[0] in known}


def quiet_monai() -> None:
    """Keep MONAI's and ignite's own log lines out of a progress bar."""
    for name in ("monai", "ignite"):
        logging.getLogger(name).setLevel(logging.ERROR)
