"""Medical Segmentation Decathlon: dataset.json and 4D NIfTI files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from monai.apps import DecathlonDataset, download_and_extract

from bundle.data.modality_names import match_modalities, with_reference
from bundle.data.names import nearest_name
from bundle.data.records import CaseRecord, ImageSource
from bundle.data.scans import existing_folder, scan_stem


def find_decathlon(
    input_dir: str | Path,
    modalities: Sequence[str] | None = None,
    sections: Sequence[str] = ("training",),
    reference: str | None = None,
) -> list[CaseRecord]:
    """Find the cases of a Medical Segmentation Decathlon task: dataset.json and 4D NIfTI files.

    Args:
        input_dir: the task's folder.
        modalities: which ones, in which order; by default all of dataset.json's, in lower case. Other names
            of a sequence will do (`ALIASES`: t1c for T1gd); the name asked for is kept.
        sections: lists of dataset.json to take; ``test`` has no masks.
        reference: a modality to note as well, for its grid.

    Raises:
        FileNotFoundError: no dataset.json.
        ValueError: dataset.json without ``modality`` or cases; a case listed twice; an unknown modality.
    """
    root = existing_folder(input_dir)
    file = root / "dataset.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"{root} should hold the Decathlon's dataset.json (it does not); check the folder"
        )
    content = json.loads(file.read_text(encoding="utf-8"))
    channels = content.get("modality")
    if not isinstance(channels, dict) or not channels:
        raise ValueError(f'{file} should list its channels under "modality" (it does not); add the list')
    available = [str(channels[key]).lower() for key in sorted(channels, key=int)]
    names = with_reference(modalities or available, reference)
    indices = [available.index(match) for match in match_modalities(names, available)]
    count = len(available)
    records: dict[str, CaseRecord] = {}
    for section in sections:
        for entry in content.get(section, []):
            entry = {"image": entry} if isinstance(entry, str) else entry
            path = root / entry["image"]
            case = scan_stem(path)
            if case in records:
                raise ValueError(f"case {case}: should stand in {file} once (found twice); remove one entry")
            images = {
                name: ImageSource(path, channel, count) if count > 1 else ImageSource(path)
                for name, channel in zip(names, indices, strict=True)
            }
            records[case] = CaseRecord(case, images, root / entry["label"] if "label" in entry else None)
    if not records:
        raise ValueError(
            f"{file} should list cases under {', '.join(sections)} (it lists none); check the file"
        )
    return [records[case] for case in sorted(records)]


def download_decathlon(task: str, output_dir: str | Path) -> Path:
    """Fetch a Decathlon task with MONAI's downloader, check its MD5 and unpack it.

    Args:
        task: full name, such as Task01_BrainTumour or Task05_Prostate.
        output_dir: folder for the archive and the task's folder; nothing is fetched if that is complete.

    Returns:
        The task's folder, for `find_decathlon`.

    Raises:
        ValueError: unknown task.
    """
    if task not in DecathlonDataset.resource:
        raise ValueError(f"Decathlon has no task {task}; {nearest_name(task, DecathlonDataset.resource)}")
    root = Path(output_dir)
    if not (root / task / "dataset.json").is_file():
        root.mkdir(parents=True, exist_ok=True)
        download_and_extract(
            url=DecathlonDataset.resource[task],
            filepath=root / f"{task}.tar",
            output_dir=root,
            hash_val=DecathlonDataset.md5[task],
            hash_type="md5",
        )
    return root / task
