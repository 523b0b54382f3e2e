"""The merged config of the running workflow: refuse mistyped ids, and tell one run's settings from another's."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from monai.bundle import ConfigWorkflow

from bundle.data.cache import write_json
from bundle.data.names import name_list, nearest_name

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

CAUSE_FILE = (
    "BUNDLE_CAUSE_FILE"  # environment variable: where whoever started this process reads why it failed
)

# The configs that are complete: each id is in one of them, or something refers to it. (Overlays may be the user's own.)
COMPLETE = ("train", "inference", "evaluate", "train_selftrain", "inference_selftrain")
# What MONAI's `--tracking` merges in: it changes nothing that is computed.
RUN_NAME = "run_name"  # MonaiAlgo gives it with tracking or without
TRACKING_IDS = {"tracking_uri", "experiment_name", RUN_NAME, "save_execute_config", "is_not_rank0"}
TRACKING_HANDLER = "MLFlowHandler"
CONSTANTS = {"true": "True", "false": "False", "null": "None"}

# Overlays that inference and evaluation have no place for: what they name is of a training.
OF_TRAINING_ALONE = ("method_annealed_pooling", "run_early_stop", "run_multi_gpu", "run_pretrained")

# Ids that decide what a network's output means; training and inference must agree on them.
MODEL_IDS = (
    "modalities",
    "spatial_size",
    "patch_size",
    "preprocessing",
    "slice_normalization",
    "head_channels",
    "width",
    "levels",
    "early_fusion",
    "intensity_start",
    "branch",
    "wrap",
    "network_def",
    "readout",
    "pooling",
    "cam_reader",
)


def check_reading_overlays(names: Sequence[str]) -> None:
    """Refuse names that are no overlays of inference and evaluation.

    Raises:
        ValueError: with the nearest name that is one.
    """
    files = [path for axis in ("dataset", "network", "method") for path in CONFIG_DIR.glob(f"{axis}_*.yaml")]
    known = reading_overlays(sorted(path.stem for path in files))
    for name in names:
        if name not in known:
            raise ValueError(
                f"configs: there is no overlay configs/{name}.yaml of inference; {nearest_name(name, known)}"
            )


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


def reading_overlays(overlays: Iterable[str]) -> tuple[str, ...]:
    """Those of a training's overlays that inference and evaluation take, too.

    >>> reading_overlays(["network_unet1", "method_annealed_pooling"])
    ('network_unet1',)
    """
    return tuple(name for name in overlays if name not in OF_TRAINING_ALONE)


def check_ids(config: Mapping[str, Any] | None = None) -> None:
    """Refuse top-level ids that no shipped config defines and nothing refers to: they would be ignored.

    Args:
        config: merged config; the running workflow's by default.

    Raises:
        ValueError: naming each unknown id and the nearest known one.
    """
    config = merged_config() if config is None else config
    _refuse_spelt_out_constants(config)
    files = [file for name in COMPLETE for file in CONFIG_DIR.glob(f"{name}.*")]  # JSON, in a packed bundle
    shipped = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]
    known = {re.split("#|::", name.lstrip("+"))[0] for file in shipped for name in file}
    text = json.dumps(config, default=str)
    known |= TRACKING_IDS if TRACKING_HANDLER in text else {RUN_NAME}
    for name in config:
        if name not in known and not name.startswith("_") and not re.search(rf"@{re.escape(name)}\b", text):
            advice = _overlay_of(name) or nearest_name(name, known)
            raise ValueError(
                f"config id {name!r} is unknown and nothing refers to it; {advice} "
                f"(known ids are the top-level names in {CONFIG_DIR.name}/ of {', '.join(COMPLETE)})"
            )
    for section in ("train", "validate"):  # plain mappings, whose keys nothing else checks
        known = {key for file in shipped for key in file.get(section, {})}
        found = config.get(section)
        for key in found if isinstance(found, Mapping) else ():
            if key not in known:
                raise ValueError(f"config id '{section}#{key}' is unknown; {nearest_name(key, known)}")


def _overlay_of(name: str) -> str:
    """Advice to merge the overlay that an id belongs to; empty if there is none."""
    for file in sorted(CONFIG_DIR.glob("run_*.yaml")):
        if name in yaml.safe_load(file.read_text(encoding="utf-8")):
            return f"it is one of {CONFIG_DIR.name}/{file.name}, to be merged last"
    return ""


def _refuse_spelt_out_constants(value: Any, path: str = "") -> None:
    """Text such as ``false`` from a command line counts as true in Python; ``--resume false`` would resume."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            _refuse_spelt_out_constants(part, f"{path}#{key}" if path else str(key))
    elif isinstance(value, str) and (constant := CONSTANTS.get(value.lower())):
        raise ValueError(f"config id {path!r} is the text {value!r}; write {constant} on a command line")


def settings_beside(checkpoint: str | Path) -> dict[str, Any]:
    """What training noted with its weights, in ``model.json`` beside ``model.pt``; empty where it is missing."""
    beside = Path(checkpoint).with_suffix(".json")
    return json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}


def check_code(bundle_root: str | Path) -> None:
    """Refuse to serve a bundle with another bundle's code.

    Two bundles in one process share the package ``bundle`` of whichever came first. That does no harm where it is the
    same in both.

    Raises:
        ValueError: the bundle's own code is another.
    """
    root = Path(bundle_root)
    if (root / "bundle").is_dir() and code_digest(root) != code_digest(BUNDLE_ROOT):
        raise ValueError(
            f"bundle {root.name}: its code in {root / 'bundle'} differs from that of {BUNDLE_ROOT}, which this process "
            "has loaded already; serve bundles of different versions by a server each, or pack both with one version"
        )


@cache
def code_digest(bundle_root: Path) -> str:
    """Digest of all Python files of a bundle's package."""
    digest = hashlib.sha256()
    for file in sorted((bundle_root / "bundle").rglob("*.py")):
        digest.update(str(file.relative_to(bundle_root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def tell_cause_last() -> None:
    """Let an uncaught error end with its cause: MONAI wraps every error, which buries ours in the traceback.

    The cause is also written to the file that the environment variable `CAUSE_FILE` names, if it is set.
    """

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.__excepthook__(kind, error, trace)
        cause = root_cause(error)
        if cause is not error:
            print(f"\nerror: {cause}", file=sys.stderr)
        if file := os.environ.get(CAUSE_FILE):
            told = isinstance(cause, ValueError | FileNotFoundError)  # our own; others don't say what to do
            text = str(cause) if told else f"{type(cause).__name__}: {cause}; what it printed above says more"
            Path(file).write_text(text, encoding="utf-8")

    sys.excepthook = report


def root_cause(error: BaseException) -> BaseException:
    """The error that MONAI's wrappers were raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def differing_ids(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Top-level ids in which two merged configs differ, other than those a continued run may change."""
    if not before or not after:
        return []
    names = (set(before) | set(after)) - FREE_IDS
    return sorted(n for n in names if _comparable(n, before) != _comparable(n, after))


def settings_of_run() -> dict[str, Any]:
    """The merged config as plain JSON values, for a checkpoint; without tracking, which no result depends on."""
    config = {name: value for name, value in merged_config().items() if name not in TRACKING_IDS}
    return _plain(_untracked(config))


def write_settings(path: str | Path) -> str:
    """Write `settings_of_run` as JSON, and give the path back, for a list of artefacts."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_json(Path(path), settings_of_run())
    return str(path)


def _comparable(name: str, settings: Mapping[str, Any]) -> Any:
    """Value of an id; ``--modalities flair`` equals the list of one in a file."""
    value = settings.get(name)
    return name_list(value) if name == "modalities" and value is not None else _plain(value)


def _untracked(value: Any) -> Any:
    """Without handlers that track."""
    if isinstance(value, Mapping):
        return {name: _untracked(part) for name, part in value.items()}
    if isinstance(value, list):
        return [
            _untracked(part)
            for part in value
            if not isinstance(part, Mapping) or part.get("_target_") != TRACKING_HANDLER
        ]
    return value


def _plain(value: Any) -> Any:
    """JSON values."""
    return json.loads(json.dumps(value, default=str))
