"""Configs of a packed bundle: JSON, complete in one file each, with the settings of the run that is packed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.utils import merge_kv

from bundle.configuration import CONFIG_DIR, FREE_IDS, check_reading_overlays
from bundle.data.names import nearest_name
from bundle.packing.run_folder import TrainedRun, is_segmenter

# Ids that say where things lie on one machine or which cases of one data set are meant; packed is the default.
LOCAL_IDS = FREE_IDS | {
    *("datalist", "patterns", "split", "splits", "checkpoint", "labels_dir", "imagenet_weights"),
    *("spatial_size", "training_cases"),  # training overwrites them by what it found
    "network",  # wrapped, if several processes trained it
}
# Ids that each workflow has its own of, or that change no result.
OWN_IDS = {"imports", "initialize", "training", "run", "finalize", "batch_size"}
NOTES = {
    "processes",
    "data_source",
    "training_tags",
    "validation_cases",
    "validation_tags",
    "pseudo_labels",
}  # of data, no ids
SEVERAL, STARTED = "run_multi_gpu", "run_pretrained"


def packed_configs(run: TrainedRun, overlays: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Configs by name: ``train``, ``inference``, ``evaluate`` and the overlay ``multi_gpu_train``.

    ``train`` is what the run trained with; the others are the shipped ones with whatever of it they share. Two things
    differ from the files they come from. Weights are looked for in the bundle. And what stands under ``initialize`` is
    done first thing by the run: MONAI puts a bundle's folder on the path only then, so that without an installation
    ``initialize`` would find no ``bundle`` from another directory.

    Args:
        run: what is packed.
        overlays: names in ``configs/``, merged into inference and evaluation last.

    Raises:
        ValueError: there is no such overlay.
    """
    several = _raw(SEVERAL)
    settings = _of_one_process(run.settings, several, _shipped_training(run.settings))
    inference, evaluate = (
        reading_config(run.settings, overlays, evaluation=evaluation) for evaluation in (False, True)
    )
    several["training"] = [*settings["initialize"], *several.pop("+initialize"), *settings["training"]]
    for config in (settings, inference, evaluate):
        _start_by_running(config)
    for config in (inference, evaluate):
        config["checkpoint"] = "$os.path.join(@bundle_root, 'models', 'model.pt')"
    return {"train": settings, "inference": inference, "evaluate": evaluate, "multi_gpu_train": several}


def reading_config(
    settings: Mapping[str, Any], overlays: Sequence[str] = (), evaluation: bool = False
) -> dict[str, Any]:
    """The shipped config of a run's inference, or evaluation, with those of the run's settings that it shares.

    Args:
        settings: of the run, as training noted them.
        overlays: names in ``configs/``, merged last.
        evaluation: of its evaluation.

    Raises:
        ValueError: there is no such overlay.
    """
    check_reading_overlays(overlays)
    shipped = _shipped_training(settings)
    own = _of_one_process(settings, _raw(SEVERAL), shipped)
    chosen = {n: v for n, v in own.items() if n not in OWN_IDS and (n not in shipped or shipped[n] != v)}
    segmenter = is_segmenter(settings)
    if evaluation:
        names = ["evaluate", *(["method_selftrain"] if segmenter else [])]
    else:
        names = ["inference_selftrain" if segmenter else "inference"]
    return _merged(with_settings(read_config(*names), chosen), overlays)


def _shipped_training(settings: Mapping[str, Any]) -> dict[str, Any]:
    return read_config("train_selftrain" if is_segmenter(settings) else "train")


def read_config(*names: str) -> dict[str, Any]:
    """Shipped configs, merged in this order, as a running workflow has them: unresolved.

    Raises:
        ValueError: there is no such file in ``configs/``.
    """
    return _merged({}, names)


def _merged(config: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    parser = ConfigParser(dict(config))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of every key that an overlay adds
        for name in names:
            for key, value in _raw(name).items():
                merge_kv(parser, key, value)
        parser.parse()
    return {name: value for name, value in parser.get().items() if name != "_meta_"}


def _raw(name: str) -> dict[str, Any]:
    file: Path = CONFIG_DIR / f"{name}.yaml"
    if not file.is_file():
        known = sorted(other.stem for other in CONFIG_DIR.glob("*.yaml"))
        raise ValueError(f"config {name!r} is unknown; {nearest_name(name, known)}")
    return ConfigParser.load_config_file(str(file))


def _of_one_process(
    trained: Mapping[str, Any], several: Mapping[str, Any], shipped: Mapping[str, Any]
) -> dict[str, Any]:
    """A run's settings without what belongs to one machine and to several processes."""
    settings = without_start({name: value for name, value in trained.items() if name not in NOTES})
    for name in LOCAL_IDS & set(settings):
        settings[name] = shipped.get(name)
    added = [line.replace("#", "::") for line in several["+initialize"]]  # as a parsed config has it
    settings["initialize"] = [line for line in settings["initialize"] if line not in added]
    if settings.get("finalize") == several["finalize"]:
        del settings["finalize"]
    return settings


def without_start(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A run's settings without the weights that it started from, a file on the machine where it was trained."""
    started = _raw(STARTED)
    kept = {name: value for name, value in settings.items() if name not in started}
    kept["initialize"] = [line for line in settings["initialize"] if line not in started["+initialize"]]
    return kept


def with_settings(config: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """A config with those of a run's settings that it shares, and with what those refer to.

    Args:
        config: of inference or evaluation, as shipped.
        chosen: settings of the run that are not those of the shipped training, by id.
    """
    config = dict(config)
    wanted = [name for name in chosen if name in config]
    while wanted:
        name = wanted.pop()
        config[name] = chosen[name]
        wanted += [n for n in re.findall(r"@(\w+)", str(chosen[name])) if n in chosen and n not in config]
    return config


def _start_by_running(config: dict[str, Any]) -> None:
    place = "training" if "training" in config else "run"
    config[place] = [*config.pop("initialize"), *config[place]]
