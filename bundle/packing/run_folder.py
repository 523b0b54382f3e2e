"""What there is to pack: the weights of a run, the settings it was trained under, and on what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bundle.data.cache import sha256
from bundle.data.names import name_list
from bundle.handlers.weights import read_checkpoint
from bundle.metrics.report import read_rows


@dataclass(frozen=True)
class TrainedRun:
    """A finished training.

    Args:
        folder: R, its output folder.
        settings: its merged config and what it noted of its data.
        source: of the prepared data set, such as ``phantom`` or ``brats``, as training noted it; empty if it did not.
        scores: mean of the fused map's Dice and number of cases, if the run was evaluated.
    """

    folder: Path
    settings: dict[str, Any]
    source: str
    scores: dict[str, float]

    @property
    def weights(self) -> Path:
        """Flat state dict."""
        return self.folder / "models" / "model.pt"

    @property
    def segmenter(self) -> bool:
        """Whether it is one of self-training, not the CAM stage."""
        return is_segmenter(self.settings)

    @property
    def saw_masks(self) -> bool:
        """Whether it learnt from masks, as the upper bounds do that others are compared with."""
        return "MaskSliceDataset" in str(self.settings.get("training_slices"))

    @property
    def started_from(self) -> str:
        """File of weights that it began with (`configs/run_pretrained.yaml`); empty for none."""
        return str(self.settings.get("pretrained", ""))

    @property
    def normalised(self) -> str:
        """``volume`` or ``slice``, as the project's own configs z-score intensities; empty: the packer's own way."""
        parts = [part.get("_target_", "") for part in self.settings["preprocessing"]["transforms"]]
        if (of_slices := self.settings.get("slice_normalization")) is not None:
            return "slice" if of_slices.get("_target_") == "bundle.data.SliceNormalization" else ""
        return "volume" if parts == ["bundle.data.NormalizeByForegroundd"] else ""

    @property
    def modalities(self) -> list[str]:
        return name_list(self.settings["modalities"])

    @property
    def training_cases(self) -> int:
        """Number of cases it learnt from."""
        return len(self.settings["training_cases"])


def is_segmenter(settings: Mapping[str, Any]) -> bool:
    """Whether settings are those of self-training, which learns from maps and not from tags."""
    return "labels_dir" in settings


def open_run(folder: str | Path) -> TrainedRun:
    """What a training left in its output folder.

    Args:
        folder: with ``models/model.pt`` and ``models/model.json``.

    Raises:
        FileNotFoundError: there are no weights, or nothing that tells how they were trained.
        ValueError: the weights are damaged, or no flat state dict.
    """
    folder = Path(folder)
    weights = folder / "models" / "model.pt"
    for file in (weights, weights.with_suffix(".json")):
        if not file.is_file():
            raise FileNotFoundError(
                f"run {folder}: expected {file.relative_to(folder)}, which a training writes, found none; give the "
                f"--output_dir of a finished training as --run_dir (of a chain: its cam or segmenter_1 folder)"
            )
    state = read_checkpoint(weights, torch.device("cpu"))
    if not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(
            f"run {folder}: {weights.name} holds {', '.join(list(state)[:3])} …, expected a flat state dict; give the "
            f"models/model.pt that the training wrote"
        )
    settings = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    if not isinstance(settings.get("training_cases"), list):
        raise ValueError(
            f"run {folder}: models/model.json lacks the cases that were trained on, expected a finished "
            f"`run training`; train again with this version"
        )
    return TrainedRun(folder, settings, settings.get("data_source", ""), _scores(weights, settings))


def _scores(weights: Path, settings: Mapping[str, Any]) -> dict[str, float]:
    """Of these weights on cases that they have not seen: of the run's own evaluation, or of its chain's."""
    run = weights.parent.parent
    for summary in (run / "summary.json", run.parent / "evaluation" / "summary.json"):
        if not summary.is_file():
            continue
        found = json.loads(summary.read_text(encoding="utf-8"))
        dice = found["maps"]["fused"]["dice"]
        scored = {row.case for row in read_rows(summary.with_name("metrics.csv"))}
        known = {*settings["training_cases"], *settings.get("validation_cases", [])}
        if found.get("weights_sha256") == sha256(weights) and dice["mean"] is not None and not scored & known:
            return {name: dice[name] for name in ("mean", "n")}
    return {}
