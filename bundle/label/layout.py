"""The folder that ``monailabel start_server --app`` takes: a bundle with a run's weights and settings, and main.py."""

from __future__ import annotations

import re
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bundle.configuration import BUNDLE_ROOT, CONFIG_DIR, FREE_IDS, settings_beside
from bundle.data.names import name_list
from bundle.data.readers import find_cases
from bundle.data.scans import SCAN_SUFFIXES, existing_folder, scan_stem
from bundle.packing.packed_configs import with_settings, without_start

NAME = "tags_to_masks"
# What a training notes of its data among its settings; no ids of a config, or overwritten by what it found.
NOTES = {"processes", "training_tags", "validation_cases", "validation_tags", "training_cases"}
# Ids that each workflow has its own of, that say where things lie, or that change no result.
OWN_IDS = FREE_IDS | {
    *("imports", "initialize", "training", "run", "finalize", "batch_size", "network", "spatial_size"),
    *("datalist", "patterns", "split", "splits", "checkpoint"),
}
_NONE = object()
MAIN = '''"""MONAI Label looks for its app here; the code is the bundle's."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "model" / "{name}"))

from bundle.label.app import TagApp  # noqa: E402

__all__ = ["TagApp"]
'''


def lay_out_app(
    studies: str | Path, run_dir: str | Path, output_dir: str | Path, name: str = NAME
) -> tuple[Path, Path]:
    """Write the app's folder; called again, it takes over other weights or another bundle beside the first.

    Args:
        studies: folder of scans. If they lie in folders of their own, links to them are put into
            ``output_dir/studies``: MONAI Label sees files of one folder alone.
        run_dir: output folder of a finished training.
        output_dir: the app's folder.
        name: of the model in the server.

    Returns:
        The app's folder and that of the studies.

    Raises:
        FileNotFoundError: no weights or no scans.
    """
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(f"--name is {name!r}, expected lower-case letters, digits and _; choose another")
    output_dir = Path(output_dir)
    weights = Path(run_dir) / "models" / "model.pt"
    settings = settings_beside(weights)
    if not weights.is_file() or not settings:
        raise FileNotFoundError(
            f"run {run_dir}: expected models/model.pt and model.json, which a training writes; give the --output_dir "
            "of a finished training as --run_dir"
        )
    folder = flat_studies(studies, output_dir, name_list(settings["modalities"]))
    bundle = output_dir / "model" / name
    shutil.rmtree(bundle, ignore_errors=True)
    (bundle / "models").mkdir(parents=True)
    leftovers = shutil.ignore_patterns("__pycache__")
    shutil.copytree(BUNDLE_ROOT / "bundle", bundle / "bundle", ignore=leftovers)
    shutil.copytree(CONFIG_DIR, bundle / "configs", ignore=leftovers)
    for document in ("LICENSE", "metadata.json"):
        shutil.copy(BUNDLE_ROOT / document, bundle / document)
    for file in (weights, weights.with_suffix(".json")):
        shutil.copy(file, bundle / "models" / file.name)
    _write_configs(bundle / "configs", settings)
    (output_dir / "main.py").write_text(MAIN.format(name=name), encoding="utf-8")
    return output_dir, folder


def is_segmenter(settings: Mapping[str, Any]) -> bool:
    """Whether settings are those of self-training, which learns from maps and not from tags."""
    return "labels_dir" in settings


def _write_configs(folder: Path, settings: Mapping[str, Any]) -> None:
    """The run's settings in ``train.yaml`` and, as far as they decide what the network says, ``inference.yaml``."""
    segmenter = is_segmenter(settings)
    shipped = "inference_selftrain.yaml" if segmenter else "inference.yaml"
    inference = yaml.safe_load((CONFIG_DIR / shipped).read_text(encoding="utf-8"))
    trained_by = "train_selftrain.yaml" if segmenter else "train.yaml"
    defaults = yaml.safe_load((CONFIG_DIR / trained_by).read_text(encoding="utf-8"))
    chosen = {n: v for n, v in settings.items() if n not in OWN_IDS and defaults.get(n, _NONE) != v}
    inference = with_settings(inference, chosen)  # what its overlays and options changed
    _write(folder / "inference.yaml", inference)
    if segmenter:
        (folder / "train.yaml").unlink()  # no tags for it: the server then offers no training
        return
    train = without_start({name: value for name, value in settings.items() if name not in NOTES})
    _write(
        folder / "train.yaml",
        {**train, **{name: defaults[name] for name in (*FREE_IDS, "training_cases") if name in defaults}},
    )


def _write(file: Path, config: Mapping[str, Any]) -> None:
    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=110)
    file.write_text(
        f"# The shipped {file.name} with the settings of the run that is served.\n{text}", encoding="utf-8"
    )


def flat_studies(studies: str | Path, output_dir: Path, modalities: list[str]) -> Path:
    """The folder of studies itself, or one of links where cases lie in folders of their own."""
    root = existing_folder(studies)
    series = [path for path in root.iterdir() if path.is_dir() and is_dicom_series(path)]
    if series or any(path.name.lower().endswith(SCAN_SUFFIXES) for path in root.iterdir()):
        return root.resolve()
    links = output_dir / "studies"
    links.mkdir(parents=True, exist_ok=True)
    for record in find_cases(root, modalities):
        for modality, source in record.images.items():
            if source.path.exists():
                stem = record.case if source.channel is not None else f"{record.case}_{modality}"
                link = links / f"{stem}{source.path.name.removeprefix(scan_stem(source.path))}"
                link.unlink(missing_ok=True)
                link.symlink_to(source.path.resolve())
    return links.resolve()


def is_dicom_series(folder: Path) -> bool:
    """Whether a folder's first file begins as DICOM files do."""
    first = next((path for path in sorted(folder.iterdir()) if path.is_file()), None)
    if first is None:
        return False
    with first.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def served_host() -> str:
    """Where this process serves: its ``--host``, of which MONAI Label keeps no record; this machine for all."""
    options = ArgumentParser(add_help=False)
    options.add_argument("-i", "--host", default="0.0.0.0")
    given = str(options.parse_known_args(sys.argv[1:])[0].host)
    return "127.0.0.1" if given in ("0.0.0.0", "::") else given
