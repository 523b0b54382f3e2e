"""The flags of `scripts.export` become a graph and files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts import export as script


@pytest.fixture
def asked(monkeypatch) -> list:
    """What was asked for."""
    calls: list = []

    def graph(*arguments):
        calls.append(arguments)
        return SimpleNamespace(modalities=("t1", "t2"))

    def write(graph, name, folder):
        calls.append((name, folder))
        return folder / f"fused_map.{name}", 2e-7

    monkeypatch.setattr(script, "trained_graph", graph)
    monkeypatch.setattr(script, "export_graph", write)
    return calls


def test_a_checkpoint_suffices_and_the_file_lies_beside_it(asked, capsys):
    assert script.export("onnx", checkpoint="R/models/model.pt") == 0
    assert asked == [("R/models/model.pt", "cam", (), {}), ("onnx", Path("R/models"))]
    assert capsys.readouterr().out.splitlines() == [
        "channels t1, t2",
        "onnx        R/models/fused_map.onnx  largest difference 2.0e-07",
    ]


def test_all_is_every_format(asked):
    script.export("all", checkpoint="model.pt", output_dir="O")
    assert asked[1:] == [(name, Path("O")) for name in ("torchscript", "export", "onnx")]


def test_flags_become_overlays_and_values(asked):
    script.export(
        "export",
        checkpoint="model.pt",
        stage="segmenter",
        modalities="flair,t1c",
        configs="network_unet1,method_er",
        options="--width 16 --gate class --refine None",
    )
    assert asked[0] == (
        "model.pt",
        "segmenter",
        ["network_unet1", "method_er"],
        {"width": 16, "gate": "class", "refine": None, "modalities": ["flair", "t1c"]},
    )


def test_a_checkpoint_is_needed(asked):
    with pytest.raises(ValueError, match="--checkpoint is needed"):
        script.export("onnx")
    assert not asked
