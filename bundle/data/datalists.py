"""Which cases a workflow uses, prepared or raw: datalists, the lists of dictionaries that MONAI's tools pass.

An entry is ``{"image": …, "label": …, "case": …, "foreground": …}``. `image` is a prepared case's folder, one
4D file, or one path a modality as a list (in the order of `modalities`) or a mapping; null or a file that is not
there is a modality that is missing, which inference does without. The rest is optional.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from bundle.data.cache import FORMAT
from bundle.data.names import nearest_name
from bundle.data.records import CaseRecord, ImageSource
from bundle.data.scans import scan_stem

RECORDED = (
    "patterns",
    "reference",
    "affines_from_reference",
)  # of dataset.json, if they were given to prepare
PREPARE = "python -m scripts.prepare_data SOURCE --input_dir I --output_dir"


def is_prepared_dataset(folder: str | Path) -> bool:
    """Whether ``scripts.prepare_data`` wrote `folder` (a decathlon folder has a dataset.json, too)."""
    file = Path(folder) / "dataset.json"
    if not file.is_file():
        return False
    described = json.loads(file.read_text(encoding="utf-8"))
    return isinstance(described, dict) and "format" in described and "cases" in described


def is_prepared_case(path: Any) -> bool:
    """Whether `path` is the folder of one prepared case."""
    return isinstance(path, (str, os.PathLike)) and (Path(path) / "case.json").is_file()


def datalist(
    dataset_dir: str | Path, split: str = "train", splits: str = "splits.json"
) -> list[dict[str, Any]]:
    """Entries of a prepared data set's cases in one split.

    Args:
        dataset_dir: what ``scripts.prepare_data`` wrote.
        split: ``train``, ``validation``, ``test``, or ``all`` cases.
        splits: file under `dataset_dir` that names the splits; ``splits_fold0.json`` for a fold.

    Raises:
        FileNotFoundError: the data set, the file of splits or a case is missing.
        ValueError: the split is unknown or empty, or the data set has another format.
    """
    folder = Path(dataset_dir)
    if not is_prepared_dataset(folder):
        raise FileNotFoundError(
            f"dataset_dir {folder}: expected a prepared data set, found no dataset.json of one; "
            f"make it with `{PREPARE} {folder}`"
        )
    described = _read_json(folder / "dataset.json")
    if described["format"] != FORMAT:
        raise ValueError(
            f"dataset_dir {folder}: expected format {FORMAT}, found {described['format']}; "
            f"prepare it again with `{PREPARE} {folder}`"
        )
    cases = described["cases"] if split == "all" else _split(folder, splits, split)
    if not cases:
        raise ValueError(
            f"dataset_dir {folder}: split {split} in {splits} is empty; prepare it again with "
            f"other --fractions or your own --splits: `{PREPARE} {folder} --splits JSON`"
        )
    for case in cases:
        if not is_prepared_case(folder / "cases" / case):
            raise FileNotFoundError(
                f"case {case}: {splits if split != 'all' else 'dataset.json'} names it, but "
                f"{folder / 'cases' / case} is not a prepared case; run `{PREPARE} {folder}` again, "
                "which adds what is missing"
            )
    paths = {case: folder / "cases" / case for case in cases}
    return [
        {"image": str(path), "label": str(path / "case.json"), "case": case} for case, path in paths.items()
    ]


def recorded_reading(dataset_dir: str | Path) -> dict[str, Any]:
    """How a prepared data set's scans were found and read, where it was not the usual way: ids of `inference.yaml`.

    Returns:
        Any of ``patterns`` (by modality), ``reference`` and ``affines_from_reference``.
    """
    described = _read_json(Path(dataset_dir) / "dataset.json")
    return {name: described[name] for name in RECORDED if described.get(name)}


def find_datalist(
    dataset_dir: str | Path,
    modalities: Sequence[str],
    split: str = "test",
    patterns: dict[str, str] | None = None,
    splits: str = "splits.json",
    reference: str | None = None,
    available: Any = None,
) -> list[dict[str, Any]]:
    """Entries for a prepared data set (one split) or for a folder of raw scans (all of it).

    Args:
        dataset_dir: a prepared data set, or raw scans in the BraTS or decathlon layout or as `patterns` say.
        modalities: which modalities, in the network's order.
        split: of a prepared data set; raw scans have none.
        patterns: one a modality with ``{case}`` in it, relative to `dataset_dir`; see `find_folder`.
        splits: file of splits of a prepared data set.
        reference: modality whose grid raw cases are resampled onto, if it is not among `modalities`.
        available: those of `modalities` to look for among raw scans, see `usable_modalities`.
    """
    if patterns is None and is_prepared_dataset(dataset_dir):
        return datalist(dataset_dir, split, splits)
    from bundle.data.readers import find_cases  # raw scans only: a training on prepared cases needs no reader

    records = find_cases(dataset_dir, modalities, patterns, reference, available)
    return [_entry(record) for record in records]


def find_entries(
    dataset_dir: str | Path,
    modalities: Sequence[str],
    split: str = "test",
    splits: str = "splits.json",
    patterns: dict[str, str] | str | None = None,
    datalist: str | Path | None = None,
    reference: str | None = None,
    available: Any = None,
) -> list[dict[str, Any]]:
    """What inference and evaluation run on: the entries of `datalist` if it is given, else `find_datalist`'s.

    Args:
        dataset_dir: see `find_datalist`.
        modalities: see `find_datalist`.
        split: see `find_datalist`.
        splits: see `find_datalist`.
        patterns: see `find_datalist`; a string is read as YAML, as a command line gives it.
        datalist: JSON file, see `read_datalist`.
        reference: see `find_datalist`.
        available: see `find_datalist`.
    """
    if datalist is not None:
        return read_datalist(datalist)
    named = yaml.safe_load(patterns) if isinstance(patterns, str) else patterns
    return find_datalist(dataset_dir, modalities, split, named, splits, reference, available)


def read_datalist(path: str | Path) -> list[dict[str, Any]]:
    """Entries of a JSON file; relative paths in it start at the file's own folder.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not a list of entries with an `image`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"datalist {path}: the file is missing; correct --datalist")
    entries = _read_json(path)
    if not isinstance(entries, list) or not all(isinstance(e, dict) and "image" in e for e in entries):
        raise ValueError(
            f'datalist {path}: expected a list of entries like {{"image": ["flair.nii.gz", "t1c.nii.gz"], '
            '"case": "017"}; write it so'
        )
    if not entries:
        raise ValueError(f"datalist {path}: it names no case; add one")
    places = ("image", "label", "foreground")
    return [{k: _resolved(v, path.parent) if k in places else v for k, v in e.items()} for e in entries]


def raw_record(
    entry: dict[str, Any], modalities: Sequence[str], reference: str | None = None, complete: bool = True
) -> CaseRecord:
    """The case that a raw entry names. Its `label` is left out: nothing that reads images sees a mask.

    Args:
        entry: of a datalist.
        modalities: the network's.
        reference: a modality to note as well, if the entry has it.
        complete: whether the entry must name each of `modalities`, as for training; else the record holds those that
            it names.

    Raises:
        ValueError: the entry's images do not fit `modalities`.
    """
    image = entry["image"]
    case = str(entry.get("case") or _case_of(image))
    if isinstance(image, dict):
        sources = {
            m: s if isinstance(s, ImageSource) else ImageSource(Path(s)) for m, s in image.items() if s
        }
        if complete:
            _check_named(case, modalities, sources)
        sources = {m: sources[m] for m in [*modalities, reference] if m in sources}
    elif isinstance(image, (list, tuple)):
        if len(image) != len(modalities):
            raise ValueError(
                f"case {case}: expected {len(modalities)} images ({', '.join(modalities)}), "
                f"found {len(image)}; list one path a modality in that order, null for one that is missing, "
                "or change `modalities`"
            )
        sources = {m: ImageSource(Path(p)) for m, p in zip(modalities, image, strict=True) if p}
        if complete:
            _check_named(case, modalities, sources)
    elif len(modalities) == 1:
        sources = {modalities[0]: ImageSource(Path(image))}
    else:
        count = len(modalities)
        sources = {m: ImageSource(Path(image), index, count) for index, m in enumerate(modalities)}
    foreground = entry.get("foreground")
    return CaseRecord(case, sources, foreground=None if foreground is None else Path(foreground))


def truth_path(entry: dict[str, Any]) -> Path | None:
    """Where an entry's mask lies, for evaluation; ``None`` if it has none."""
    if is_prepared_case(entry["image"]):
        folder = Path(entry["image"])
        mask = folder.parent.parent / "masks" / f"{folder.name}.nii.gz"
        return mask if mask.is_file() else None
    label = entry.get("label")
    return None if label is None or str(label).endswith(".json") else Path(label)


def _entry(record: CaseRecord) -> dict[str, Any]:
    images = {m: s if s.channel is not None else str(s.path) for m, s in record.images.items()}
    optional = {"label": record.mask, "foreground": record.foreground}
    return {
        "image": images,
        "case": record.case,
        **{key: str(path) for key, path in optional.items() if path is not None},
    }


def _check_named(case: str, modalities: Sequence[str], sources: dict[str, ImageSource]) -> None:
    for modality in modalities:
        if modality not in sources:
            raise ValueError(
                f"case {case}: modality {modality} is missing from the datalist's `image`; "
                f"{nearest_name(modality, sources)} Add it or drop {modality} from `modalities`"
            )


def _split(folder: Path, splits: str, split: str) -> list[str]:
    file = folder / splits
    if not file.is_file():
        raise FileNotFoundError(
            f"dataset_dir {folder}: {splits} is missing; make it with `{PREPARE} {folder}` "
            "(--folds k for splits_fold0.json and so on)"
        )
    named = _read_json(file)
    if split not in named:
        raise ValueError(f"split {split} is not in {file}; {nearest_name(split, [*named, 'all'])}")
    return named[split]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: expected JSON, found a fault at line {error.lineno}: {error.msg}"
        ) from None


def _resolved(value: Any, folder: Path) -> Any:
    if isinstance(value, str):
        return str(folder / value)
    if isinstance(value, list):
        return [_resolved(v, folder) for v in value]
    if isinstance(value, dict):
        return {k: _resolved(v, folder) for k, v in value.items()}
    return value


def _case_of(image: Any) -> str:
    """Case id from file names: what they have in common in front, else their folder's name."""
    if isinstance(image, dict):
        image = [getattr(source, "path", source) for source in image.values()]
    paths = [Path(p) for p in (image if isinstance(image, (list, tuple)) else [image]) if p]
    if not paths:
        raise ValueError('datalist: an entry names no image and no case; add both, such as "case": "017"')
    stems = [scan_stem(path) for path in paths]
    if len(stems) == 1:
        return stems[0]
    words = [re.split(r"([_\-. ]+)", stem) for stem in stems]
    alike = takewhile(lambda same: len(set(same)) == 1, zip(*words, strict=False))
    common = "".join(same[0] for same in alike).rstrip("_-. ")
    return common or paths[0].resolve().parent.name
