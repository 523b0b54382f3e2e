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
    assert asked == [("R/models/model.pt", (), {}), ("onnx", Path("R/models"))]
    assert capsys.readouterr().out.splitlines() == [
        "channels t1, t2",
        "onnx        R/models/fused_map.onnx  largest difference 2.0e-07",
    ]


def test_all_is_every_format(asked, tmp_path):
    script.export("all", checkpoint="model.pt", output_dir=str(tmp_path / "O"))
    assert asked[1:] == [(name, tmp_path / "O") for name in ("torchscript", "export", "onnx")]


def test_flags_become_overlays_and_values(asked):
    script.export(
        "export",
        checkpoint="model.pt",
        configs="method_er,method_paper",
        options="--batch_size 16 --gate class --refine None",
    )
    assert asked[0] == (
        "model.pt",
        ["method_er", "method_paper"],
        {"batch_size": 16, "gate": "class", "refine": None},
    )


def test_a_checkpoint_is_needed(asked):
    with pytest.raises(ValueError, match="--checkpoint is needed"):
        script.export("onnx")
    assert not asked


@pytest.mark.parametrize("name", ["onx", "tensorrt"])
def test_an_unknown_format_is_named_before_anything_is_read(asked, name):
    with pytest.raises(ValueError, match=f"format '{name}' is unknown"):
        script.export(name, checkpoint="nowhere.pt")
    assert not asked


def test_an_output_folder_that_is_a_file_is_named(asked, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"--output_dir .*file: expected a folder that can be written"):
        script.export("onnx", checkpoint="model.pt", output_dir=str(tmp_path / "file"))
