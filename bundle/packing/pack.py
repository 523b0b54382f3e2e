"""From a run to a bundle as the model zoo has them: a folder and a zip that need nothing else of this project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from bundle.configuration import BUNDLE_ROOT, CONFIG_DIR, MODEL_IDS
from bundle.packing.archive import (
    CHECKSUMS,
    strip_debugging,
    write_checksums,
    write_json,
    write_large_files,
    write_zip,
)
from bundle.packing.card import data_licence, model_card, trained_on
from bundle.packing.described import packed_metadata
from bundle.packing.packed_configs import packed_configs
from bundle.packing.run_folder import TrainedRun, open_run
from bundle.packing.tasks import DEFAULT_TASK, find_task

# What works with a packed bundle's configs alone; the rest merges the project's own.
PARTS_LEFT_OUT = ("chain", "comparison", "export", "label")
SCRIPTS = ("__init__.py", "command_line.py", "prepare_data.py", "verify.py")


@dataclass(frozen=True)
class PackOptions:
    """What is packed, as what, and where to.

    Args:
        output_dir: O; O/NAME and O/NAME_v<version>.zip are written.
        run_dir: output folder of a training.
        name: a configured task.
        overlays: names in ``configs/``, merged into inference and evaluation after the run's own settings.
        seen: what the weights were trained on; by default what the data set tells.
        licence: file with the terms of the data; by default the phantom's, or where to ask.
    """

    output_dir: Path
    run_dir: Path
    name: str = DEFAULT_TASK
    overlays: Sequence[str] = ()
    seen: str | None = None
    licence: Path | None = None


@dataclass(frozen=True)
class Packed:
    """What was written.

    Args:
        folder: the bundle.
        archive: its zip.
        large: files above the zoo's limit, which ``large_files.yml`` lists.
    """

    folder: Path
    archive: Path
    large: list[Path]


def pack(options: PackOptions) -> Packed:
    """Writes the bundle, whole or not at all; an earlier one of that name is replaced.

    Raises:
        ValueError, FileNotFoundError: there is no such run, task, overlay or licence; nothing tells what the weights
            were trained on; something else lies where the bundle belongs; or its network is not for TorchScript.
    """
    task, run = find_task(options.name), open_run(options.run_dir)
    seen = options.seen or trained_on(run)
    configs = packed_configs(run, options.overlays)
    folder = options.output_dir / options.name
    if folder.exists() and not (folder / CHECKSUMS).is_file():
        raise ValueError(f"{folder}: expected nothing or a packed bundle, found something else; remove it")
    partial = options.output_dir / f".{options.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        metadata = _write(partial, task, run, configs, options, seen)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    large = [path.relative_to(partial) for path in write_large_files(partial)]
    write_checksums(partial)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    archive = options.output_dir / f"{options.name}_v{metadata['version']}.zip"
    write_zip(folder, archive)
    return Packed(folder, archive, [folder / path for path in large])


def _write(
    partial: Path,
    task: Mapping[str, Any],
    run: TrainedRun,
    configs: Mapping[str, Any],
    options: PackOptions,
    seen: str,
) -> dict[str, Any]:
    """All files but the checksums; the metadata."""
    for part in ("configs", "docs", "models"):
        (partial / part).mkdir(parents=True)
    _copy_code(partial)
    for name, config in configs.items():
        write_json(partial / "configs" / f"{name}.json", config)
    shutil.copyfile(CONFIG_DIR / "logging.conf", partial / "configs" / "logging.conf")
    network = ConfigParser(configs["inference"]).get_parsed_content("network_def")
    _check_weights(network, run, options.overlays)
    metadata = packed_metadata(run, task, network, seen)
    write_json(partial / "configs" / "metadata.json", metadata)
    shutil.copyfile(BUNDLE_ROOT / "LICENSE", partial / "LICENSE")
    card = model_card(run, options.name, seen, metadata)
    (partial / "docs" / "README.md").write_text(card, encoding="utf-8")
    (partial / "docs" / "data_license.txt").write_text(data_licence(run, options.licence), encoding="utf-8")
    shutil.copyfile(run.weights, partial / "models" / "model.pt")
    write_json(partial / "models" / "model.json", _noted(run))
    _export_torchscript(partial, run)
    return metadata


def _check_weights(network: nn.Module, run: TrainedRun, overlays: Sequence[str]) -> None:
    """Refuse overlays that make another network than the one that was trained."""
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    found = {
        name: value.shape
        for name, value in torch.load(run.weights, weights_only=True, map_location="cpu").items()
    }
    if wanted != found:
        raise ValueError(
            f"--configs {','.join(overlays) or 'none'}: they make another network than that of run {run.folder}; "
            "leave out those that change it"
        )


def _copy_code(folder: Path) -> None:
    unwanted = shutil.ignore_patterns("__pycache__", *PARTS_LEFT_OUT)
    shutil.copytree(BUNDLE_ROOT / "bundle", folder / "bundle", ignore=unwanted)
    (folder / "scripts").mkdir()
    for name in SCRIPTS:
        shutil.copyfile(BUNDLE_ROOT / "scripts" / name, folder / "scripts" / name)


def _noted(run: TrainedRun) -> dict[str, Any]:
    """What inference compares its settings with. Cases are left out: their names may be those of patients."""
    noted = {name: run.settings[name] for name in MODEL_IDS if name in run.settings}
    return {**noted, **({"labels_dir": ""} if run.segmenter else {})}  # which tells a segmenter


def _export_torchscript(folder: Path, run: TrainedRun) -> None:
    """``models/model.ts`` of ``network_def``, by MONAI's own command, from the packed code and weights."""
    words = [
        "ckpt_export",
        "network_def",
        "--config_file",
        "configs/inference.json",
        "--filepath",
        "models/model.ts",
    ]
    words += ["--ckpt_file", "models/model.pt", "--meta_file", "configs/metadata.json"]
    # the order of a class's constants in TorchScript is that of a set of texts
    env = {
        **os.environ,
        "PYTHONPATH": str(folder.resolve()),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "monai.bundle", *words]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.strip()]
        raise ValueError(
            f"models/model.ts: `monai.bundle ckpt_export` ended with exit status {done.returncode} "
            f"({told[-1] if told else 'nothing printed'}), expected 0; "
            + (
                "if it is what `wrap` adds that TorchScript does not read, "
                if run.settings.get("wrap")
                else ""
            )
            + "pack another run"
        )
    strip_debugging(folder / "models" / "model.ts")
