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
from bundle.data.cache import sha256
from bundle.data.modality_names import meaning
from bundle.data.names import name_list
from bundle.data.readers import find_cases
from bundle.data.scans import SCAN_SUFFIXES, existing_folder, scan_stem
from bundle.data.siblings import entry_of_path
from bundle.packing.packed_configs import with_settings, without_start
from bundle.packing.run_folder import is_segmenter

NAME = "tags_to_masks"
LAID_OUT = "laid_out.txt"  # digest of the run's weights that the server began with
# What a training notes of its data among its settings; no ids of a config, or overwritten by what it found.
NOTES = {"processes", "data_source", "training_tags", "validation_cases", "validation_tags", "training_cases"}
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
) -> tuple[Path, Path, str]:
    """Write the app's folder; called again, it takes over other weights or another bundle beside the first.

    Weights that the server has learnt from labels since are kept if the run is the one that it was laid out with.

    Args:
        studies: folder of scans. If they lie in folders of their own, links to them are put into
            ``output_dir/studies``: MONAI Label sees files of one folder alone.
        run_dir: output folder of a finished training.
        output_dir: the app's folder.
        name: of the model in the server.

    Returns:
        The app's folder, that of the studies, and whether weights that the server had learnt are ``kept`` or
        ``replaced``; empty if it had learnt none.

    Raises:
        FileNotFoundError: no weights or no scans.
        ValueError: a folder that is no app; scans both loose and in folders of their own.
    """
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(f"--name is {name!r}, expected lower-case letters, digits and _; choose another")
    output_dir = Path(output_dir)
    if re.search(r"\s", f"{output_dir}{studies}"):
        raise ValueError(
            f"--output_dir {output_dir} and --studies {studies}: expected no space, with which MONAI Label does not "
            "start; rename the folder, or link to it"
        )
    weights = Path(run_dir) / "models" / "model.pt"
    settings = settings_beside(weights)
    if not weights.is_file() or not settings:
        raise FileNotFoundError(
            f"run {run_dir}: expected models/model.pt and model.json, which a training writes; give the --output_dir "
            "of a finished training as --run_dir (of a chain: its cam or segmenter_1 folder)"
        )
    main, bundle = output_dir / "main.py", output_dir / "model" / name
    served, laid_out = bundle / "models", bundle / "models" / LAID_OUT
    for ours, known in (
        (main, main.is_file() and "TagApp" in main.read_text("utf-8")),
        (bundle, (served / "model.json").is_file()),
    ):
        if ours.exists() and not known:
            raise ValueError(
                f"--output_dir {output_dir} holds {ours.relative_to(output_dir)}, which is not of an app made here; "
                "give a new folder"
            )
    folder = flat_studies(studies, output_dir, name_list(settings["modalities"]))
    run = sha256(weights)
    before = laid_out.read_text("utf-8") if laid_out.is_file() else run
    learnt = ""
    if laid_out.is_file() and sha256(served / weights.name) != before:
        learnt = "kept" if before == run else "replaced"
    served.mkdir(parents=True, exist_ok=True)
    leftovers = shutil.ignore_patterns("__pycache__")
    for source, target in ((BUNDLE_ROOT / "bundle", bundle / "bundle"), (CONFIG_DIR, bundle / "configs")):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=leftovers)
    for document in ("LICENSE", "metadata.json"):
        shutil.copy(BUNDLE_ROOT / document, bundle / document)
    for file in () if learnt == "kept" else (weights, weights.with_suffix(".json")):
        shutil.copy(file, served / file.name)
    laid_out.write_text(run, encoding="utf-8")
    _write_configs(bundle / "configs", settings)
    main.write_text(MAIN.format(name=name), encoding="utf-8")
    return output_dir, folder, learnt


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
    """The folder of studies itself, or one of links where cases lie in folders of their own.

    Raises:
        FileNotFoundError: no scans.
        ValueError: scans lie both in the folder and in folders within it.
    """
    root = existing_folder(studies)
    if (root / "cases").is_dir() and (root / "dataset.json").is_file():
        raise ValueError(f"--studies {root} is a prepared data set, expected the scans; give their folder")
    inside = sorted(root.iterdir())
    loose = [path for path in inside if _is_scan(path) or (path.is_dir() and is_dicom_series(path))]
    if loose:
        deeper = next(
            (one for path in inside if path not in loose for one in path.rglob("*") if _is_scan(one)), None
        )
        if deeper is not None:
            raise ValueError(
                f"--studies {root} holds scans ({loose[0].name}) and folders of scans "
                f"({deeper.relative_to(root)}), of which MONAI Label would see the first alone; move one kind away"
            )
        return root.resolve()
    wanted: dict[str, Path] = {}
    for case, images in _cases_in_folders(root, modalities).items():
        for modality, path in images.items():
            stem = f"{case}_{modality}" if modality else case
            wanted[f"{stem}{path.name.removeprefix(scan_stem(path))}"] = path
    links = output_dir / "studies"
    links.mkdir(parents=True, exist_ok=True)
    for former in links.iterdir():
        if former.is_symlink():
            former.unlink()
    for name, path in wanted.items():
        (links / name).symlink_to(path.resolve())
    return links.resolve()


def _cases_in_folders(root: Path, modalities: list[str]) -> dict[str, dict[str, Path]]:
    """Files by case and modality; no modality: one file with all.

    Where files are named by their modality alone (``017/flair.nii.gz``), a folder is a case; else cases are found as
    every command finds them.
    """
    names = {meaning(name) for name in modalities}
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(root.glob("*/*")):
        if _is_scan(path) and meaning(scan_stem(path)) in names:
            images = entry_of_path(path, modalities)["image"]
            found[path.parent.name] = {modality: Path(file) for modality, file in images.items()}
    if found:
        return found
    for record in find_cases(root, modalities):
        for modality, source in record.images.items():
            if source.path.exists():
                found.setdefault(record.case, {})["" if source.channel is not None else modality] = (
                    source.path
                )
    return found


def _is_scan(path: Path) -> bool:
    return path.name.lower().endswith(SCAN_SUFFIXES) and not path.name.startswith(".") and path.is_file()


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
