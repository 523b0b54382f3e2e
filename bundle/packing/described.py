"""The metadata of a packed bundle: the project's own, fitted to the task and to the network that is packed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bundle.configuration import BUNDLE_ROOT
from bundle.packing.run_folder import TrainedRun

METADATA = BUNDLE_ROOT / "metadata.json"
SEGMENTER = (
    "A segmenter that saw no mask: it learnt from the class activation maps of classifiers of slice tags."
)
SIDE = 32  # pixels: every backbone here takes slices whose sides are multiples of this; most take others, too
# SD that an intensity clipped at the 99.5 percentile lies from the mean at most: 0.5 % of the foreground lie there,
# and by Cantelli's inequality not beyond sqrt(199) = 14.1; the rest is for rounding.
FARTHEST = 14.2


def packed_metadata(
    run: TrainedRun, task: Mapping[str, Any], network: nn.Module, seen: str
) -> dict[str, Any]:
    """``configs/metadata.json`` of a packed run.

    Args:
        run: what is packed.
        task: fields that differ for the task.
        network: the run's, which tells the numbers of channels and axes.
        seen: what the weights were trained on.
    """
    found = {**json.loads(METADATA.read_text(encoding="utf-8")), **task}
    formats = found["network_data_format"]
    image, pred = formats["inputs"]["image"], formats["outputs"]["pred"]
    shown = {name.lower(): name for name in image["channel_def"].values()}
    names = [shown.get(modality, modality.upper()) for modality in run.modalities]
    axes = 3 if any(isinstance(module, nn.Conv3d) for module in network.modules()) else 2
    channels = _channels(network, len(names), axes)
    kind = "log odds" if run.segmenter else "evidence"
    of_branch = (
        names if channels % len(names) == 0 and not run.settings["early_fusion"] else ["all modalities"]
    )
    each = channels // len(of_branch)
    described = [
        f"{name} {kind}" + (f", channel {channel}" if each > 1 else "")
        for name in of_branch
        for channel in range(each)
    ]
    for part, labels in ((image, names), (pred, described)):
        part["spatial_shape"] = [f"{SIDE}*n"] * axes
        if list(part["channel_def"].values()) != labels:
            part["num_channels"] = len(labels)
            part["channel_def"] = {str(place): label for place, label in enumerate(labels)}
    image["value_range"] = _value_range(run)
    if list(shown) != run.modalities and "image_classes" not in task:
        found["image_classes"] = f"{', '.join(names)} images, normalised as configs/inference.json says"
    if run.source != "phantom":
        found["data_source"] = seen
    if run.saw_masks:
        found["description"] = "An upper bound, trained on masks."
    elif run.segmenter:
        found["description"] = SEGMENTER
    if run.scores:
        found["eval_metrics"] = {"mean_dice": round(run.scores["mean"], 4)}
    return found


def _value_range(run: TrainedRun) -> list[float]:
    """What no normalised intensity leaves; empty if that is not known of the run's own normalisation."""
    sides = run.settings["spatial_size"]  # one pixel unlike all others of its slice lies that many SD away
    farthest = {"volume": FARTHEST, "slice": float(sides)}.get(run.normalised)
    return [] if farthest is None else [-farthest, farthest]


def _channels(network: nn.Module, modalities: int, axes: int) -> int:
    """Channels that come out of a network."""
    device = next(network.parameters()).device
    with torch.no_grad():
        slices = torch.zeros(1, modalities, *[SIDE] * axes, device=device)
        return int(network.eval()(slices).shape[1])
