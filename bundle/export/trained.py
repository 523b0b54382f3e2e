"""The graph of a training: its inference config, overlays, its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from bundle.configuration import check_ids, settings_beside
from bundle.export.graph import FusedMapGraph
from bundle.handlers import LoadWeights
from bundle.handlers.weights import read_checkpoint
from bundle.packing.packed_configs import reading_config


def trained_graph(
    checkpoint: str | Path, overlays: Sequence[str] = (), options: Mapping[str, Any] | None = None
) -> FusedMapGraph:
    """What the inference of a training computes of each slice, on the CPU and in single precision.

    Its stage, modalities and settings are those that the training noted with the weights.

    Args:
        checkpoint: ``models/model.pt`` of the training with its ``model.json``, or its ``checkpoints/last.pt``.
        overlays: names of further ones of inference, such as ``method_paper``.
        options: of inference, by config id, such as ``fusion``.

    Raises:
        FileNotFoundError: there is no such checkpoint, or nothing that tells its settings.
        ValueError: unknown overlay or option; they change what the weights were trained under; or the inferer can't be
            exported (:class:`bundle.export.FusedMapGraph`).
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist; give the models/model.pt of a training")
    trained = settings_beside(path) or read_checkpoint(path, torch.device("cpu")).get("settings")
    if not trained:
        raise FileNotFoundError(
            f"checkpoint {path}: expected {path.with_suffix('.json').name} beside it; copy it, too"
        )
    parser = ConfigParser(reading_config(trained, overlays))
    parser.update({**(options or {}), "precision": "float32"})
    settings = {name: value for name, value in parser.get().items() if name != "_meta_"}
    check_ids(settings)
    network = parser.get_parsed_content("network_def")
    LoadWeights(str(path), network, settings).load()
    return FusedMapGraph(
        network, parser.get_parsed_content("inferer"), settings["fusion"], parser.get_parsed_content("names")
    )
