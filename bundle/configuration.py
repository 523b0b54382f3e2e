"""The merged config of the running workflow: refuse mistyped ids, and tell one run's settings from another's."""

from __future__ import annotations

import difflib
import inspect
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from monai.bundle import ConfigWorkflow

from bundle.data.names import name_list

BUNDLE_ROOT = Path(__file__).resolve().parent.parent  # right from any working directory
CONFIG_DIR = BUNDLE_ROOT / "configs"
# Ids that may change between a run and its continuation without changing what each step computes.
# (`epochs` may not: the learning rate's schedule spans them.)
FREE_IDS = {
    "device",
    "output_dir",
    "dataset_dir",
    "cache_dir",
    "workers",
    "resume",
    "bundle_root",
    "_meta_",
}

# Ids that decide what a network's output means; training and inference must agree on them.
MODEL_IDS = (
    "modalities",
    "spatial_size",
    "preprocessing",
    "slice_normalization",
    "head_channels",
    "width",
    "levels",
    "branch",
    "network_def",
    "readout",
    "pooling",
    "cam_reader",
)


def switch(value: Any) -> bool:
    """A switch from a config or a command line, where ``--resume false`` arrives as text.

    Raises:
        ValueError: for anything but true and false.

    >>> switch(True), switch("false")
    (True, False)
    """
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise ValueError(f"expected true or false, got {value!r}; correct the option")


def merged_config() -> dict[str, Any]:
    """The raw config, all files and overrides merged, of the MONAI workflow that is evaluating this call.

    MONAI hands no parser to the expressions of a config, so it is looked up on the call stack. Outside a
    ``ConfigWorkflow`` (a plain ``ConfigParser`` in somebody's own program) nothing was merged: an empty dict.
    """
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, ConfigWorkflow):
            return {k: v for k, v in owner.parser.get().items() if k != "_meta_"}
        frame = frame.f_back
    return {}


def check_ids(config: Mapping[str, Any] | None = None) -> None:
    """Refuse top-level ids that no shipped config defines and nothing refers to: they would be ignored.

    Args:
        config: merged config; the running workflow's by default.

    Raises:
        ValueError: naming each unknown id and the nearest known one.
    """
    config = merged_config() if config is None else config
    known: set[str] = set()
    for file in sorted(CONFIG_DIR.glob("*.yaml")):
        known |= set(yaml.safe_load(file.read_text(encoding="utf-8")))
    known = {re.split("#|::", name.lstrip("+"))[0] for name in known}
    text = json.dumps(config, default=str)
    for name in config:
        if name in known or name.startswith("_") or re.search(rf"@{re.escape(name)}\b", text):
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        raise ValueError(
            f"config id {name!r} is unknown and nothing refers to it; did you mean {near[0]!r}? "
            f"(known ids are the top-level names in {CONFIG_DIR.name}/*.yaml)"
        )


def tell_cause_last() -> None:
    """Let an uncaught error end with its cause: MONAI wraps every error, which buries ours in the traceback."""

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.__excepthook__(kind, error, trace)
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if cause is not error:
            print(f"\nerror: {cause}", file=sys.stderr)

    sys.excepthook = report


def differing_ids(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Top-level ids in which two merged configs differ, other than those a continued run may change."""
    if not before or not after:
        return []
    names = (set(before) | set(after)) - FREE_IDS
    return sorted(n for n in names if _comparable(n, before) != _comparable(n, after))


def settings_of_run() -> dict[str, Any]:
    """The merged config as plain JSON values, for a checkpoint."""
    return _plain(merged_config())


def _comparable(name: str, settings: Mapping[str, Any]) -> Any:
    """Value of an id; ``--modalities flair`` equals the list of one in a file."""
    value = settings.get(name)
    return name_list(value) if name == "modalities" and value is not None else _plain(value)


def _plain(value: Any) -> Any:
    """JSON values."""
    return json.loads(json.dumps(value, default=str))
