"""The graph of a training: an inference config, its overlays, its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from bundle.configuration import CONFIG_DIR, check_ids, check_reading_overlays
from bundle.data.names import nearest_name
from bundle.export.graph import FusedMapGraph
from bundle.handlers import LoadWeights

STAGES = {"cam": "inference", "segmenter": "inference_selftrain"}


def trained_graph(
    checkpoint: str | Path,
    stage: str = "cam",
    overlays: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> FusedMapGraph:
    """What an inference config computes of each slice, on the CPU and in single precision.

    Args:
        checkpoint: ``models/model.pt`` of the training, or its ``checkpoints/last.pt``.
        stage: ``cam`` (``configs/inference.yaml``) or ``segmenter`` (``configs/inference_selftrain.yaml``).
        overlays: names of those that training and inference had, such as ``network_unet1``.
        options: by config id, such as ``modalities`` and ``width``.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: unknown stage, overlay or option; the weights were trained under other settings; or the inferer
            can't be exported (:class:`bundle.export.FusedMapGraph`).
    """
    if stage not in STAGES:
        raise ValueError(f"stage: {stage!r} is unknown; {nearest_name(stage, STAGES)}")
    check_reading_overlays(overlays)
    parser = ConfigParser()
    parser.read_config([str(CONFIG_DIR / f"{name}.yaml") for name in (STAGES[stage], *overlays)])
    parser.update({**(options or {}), "precision": "float32"})
    settings = {name: value for name, value in parser.get().items() if name != "_meta_"}
    check_ids(settings)
    network = parser.get_parsed_content("network_def")
    LoadWeights(str(checkpoint), network, settings).load()
    return FusedMapGraph(
        network, parser.get_parsed_content("inferer"), settings["fusion"], parser.get_parsed_content("names")
    )
