"""From labels that users saved to a prepared data set, and to new weights by the normal training."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bundle.configuration import settings_beside
from bundle.data.cache import PreparedCase, write_json
from bundle.data.datalists import raw_record
from bundle.data.grids import Grid
from bundle.data.labels import NEGATIVE, POSITIVE, UNTAGGED
from bundle.data.names import name_list
from bundle.data.prepare import PrepareOptions, prepare_cohort
from bundle.data.records import CaseRecord
from bundle.data.siblings import entry_of_path
from bundle.label.tags import tags_of_labels

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Labelled:
    """One saved label.

    Args:
        image: path of the study that it was saved for.
        label: path of the label.
        info: what was saved with it.
    """

    image: str
    label: str
    info: Mapping[str, Any] = field(default_factory=dict)


def prepare_labelled(
    labelled: Sequence[Labelled], settings: Mapping[str, Any], dataset_dir: Path, val_share: float, tell: Tell
) -> Path:
    """A prepared data set of the cases that labels give tags for, split into training and validation.

    Several labels of one case, saved for its single files, are taken together. What was prepared before is kept.

    Args:
        labelled: the labels.
        settings: of the run that is trained on.
        dataset_dir: where to.
        val_share: share of the cases that are held out, in (0, 1).
        tell: is told what was found.

    Raises:
        ValueError: fewer than two cases, labels of a case that contradict, or no positive or no negative slice on
            either side of the split.
    """
    if not 0 < val_share < 1:
        raise ValueError(f"val_split is {val_share}, expected a share above 0 and below 1; correct it")
    modalities, reference = name_list(settings["modalities"]), settings.get("reference")
    headers = bool(settings.get("affines_from_reference", False))
    options: dict[str, Any] = {"reference": reference, "affines_from_reference": headers, "workers": 1}
    records: dict[str, CaseRecord] = {}
    labels: dict[str, list[Labelled]] = {}
    for one in labelled:
        entry = entry_of_path(one.image, modalities)
        record = raw_record(entry, modalities, reference)
        records[record.case] = record
        labels.setdefault(record.case, []).append(one)
    if len(records) < 2:
        raise ValueError(
            f"training needs labels of at least two cases, one to learn from and one to hold out (found "
            f"{len(records)}); label more cases"
        )
    size = settings.get("spatial_size")
    untagged = PrepareOptions(modalities, spatial_size=size, **options)
    prepare_cohort(list(records.values()), dataset_dir, untagged, "folder", progress=False)
    tags = {case: _tags(dataset_dir / "cases" / case, labels[case], headers) for case in sorted(records)}
    for case, found in tags.items():
        counts = [int((found == tag).sum()) for tag in (POSITIVE, NEGATIVE, UNTAGGED)]
        tell(f"case {case}: {counts[0]} positive, {counts[1]} negative, {counts[2]} untagged slices")
    place = dataset_dir.with_name(f"{dataset_dir.name}_tags")
    place.mkdir(parents=True, exist_ok=True)
    with (place / "tags.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "slice", "tag"])
        for case, found in tags.items():
            writer.writerows([case, int(index), int(found[index])] for index in np.flatnonzero(found >= 0))
    write_json(place / "splits.json", split_of(tags, val_share))
    tagged = PrepareOptions(
        modalities, tags=place / "tags.csv", splits=place / "splits.json", spatial_size=size, **options
    )
    prepare_cohort(list(records.values()), dataset_dir, tagged, "folder", progress=False)
    return dataset_dir


def split_of(tags: Mapping[str, np.ndarray], val_share: float) -> dict[str, list[str]]:
    """Training and validation cases, drawn by their names, so that a new label moves no other case.

    Validation needs both kinds of slices; cases that have them come first, and as many are taken as the share says,
    and more until both are there. One case at least stays to learn from.
    """

    def order(case: str) -> tuple[bool, str]:
        both = {POSITIVE, NEGATIVE} <= set(tags[case].tolist())
        return not both, hashlib.sha256(case.encode()).hexdigest()

    drawn = sorted(tags, key=order)
    count = max(1, min(len(drawn) - 1, round(val_share * len(drawn))))
    while count < len(drawn) - 1 and not {POSITIVE, NEGATIVE} <= set(
        np.concatenate([tags[case] for case in drawn[:count]]).tolist()
    ):
        count += 1
    return {"train": sorted(drawn[count:]), "validation": sorted(drawn[:count]), "test": []}


def train_on(
    dataset_dir: Path, bundle: Path, output_dir: Path, epochs: int, device: str, pretrained: bool, tell: Tell
) -> None:
    """``run training`` of the bundle's ``train.yaml`` in a process of its own; then its weights are served.

    Args:
        dataset_dir: prepared.
        bundle: folder of the bundle.
        output_dir: of the training; must be new.
        epochs: how many.
        device: such as ``cpu`` or ``cuda:0``.
        pretrained: start from the weights that are served now.
        tell: is told each line that the training prints.

    Raises:
        RuntimeError: the training failed; the last lines that it printed say why.
    """
    weights = bundle / "models" / "model.pt"
    names = ["train", "run_pretrained"] if pretrained else ["train"]
    output_dir.mkdir(parents=True)
    command = [sys.executable, "-m", "monai.bundle", "run", "training"]
    command += ["--config_file", str([str(bundle / "configs" / f"{name}.yaml") for name in names])]
    command += ["--pretrained", str(weights)] if pretrained else []
    command += ["--bundle_root", str(bundle)]
    command += ["--dataset_dir", str(dataset_dir), "--output_dir", str(output_dir), "--epochs", str(epochs)]
    command += ["--device", f"$torch.device({device!r})"]
    path = os.pathsep.join([str(bundle), *filter(None, [os.environ.get("PYTHONPATH")])])
    last: list[str] = []
    with subprocess.Popen(
        command,
        cwd=bundle,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.strip():
                    tell(line.rstrip())
                    last = [*last[-9:], line.strip()]
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        why = next((line for line in reversed(last) if line.startswith("error:")), " | ".join(last[-3:]))
        raise RuntimeError(f"the training ended with status {process.returncode}: {why}")
    publish(output_dir / "models" / "model.pt", weights)


def publish(trained: Path, served: Path) -> None:
    """Put new weights in place of those that are served, with their settings; each file as a whole."""
    for source, target in ((trained.with_suffix(".json"), served.with_suffix(".json")), (trained, served)):
        partial = target.with_name(f".partial_{target.name}")
        shutil.copy(source, partial)
        partial.replace(target)


def served_settings(bundle: Path) -> dict[str, Any]:
    """Settings of the weights that a bundle serves."""
    return settings_beside(bundle / "models" / "model.pt")


def _tags(folder: Path, labels: Sequence[Labelled], headers_differ: bool) -> np.ndarray:
    """Tags of a prepared case from all labels that were saved for it."""
    case = PreparedCase.open(folder)
    grid = None if headers_differ else Grid(case.geometry.shape, case.geometry.affine)
    pairs = [(one.label, one.info) for one in labels]
    return tags_of_labels(pairs, case.slices, case.case, grid)
