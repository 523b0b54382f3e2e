"""From a training's weights to a file that gives the command line's maps; the documents' own programs run it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bundle.export import FORMATS, export_graph, on_cuda, trained_graph
from bundle.inferers import FuseMapsd
from tests.export.conftest import SIZE
from tests.running import MODALITIES, ROOT, run_here, run_typed

CONFIGS = {"cam": "inference", "segmenter": "inference_selftrain"}
# The programs of docs/exports.md, in its order, and what they may not import.
PROGRAMS = {
    "torchscript": ("monai", "bundle"),
    "export": ("monai", "bundle"),
    "onnx": ("monai", "bundle", "torch"),
}


def checkpoint(trained: dict[str, Path], stage: str) -> Path:
    return trained[stage] / "models" / "model.pt"


def graph_of(trained: dict[str, Path], stage: str, **options):
    return trained_graph(checkpoint(trained, stage), options=options)


def programs() -> list[str]:
    text = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run_program(text: str, folder: Path, without: tuple[str, ...] = ()) -> None:
    """A program of its own, in which some packages can't be imported."""
    blocked = f"import sys\nfor name in {without!r}:\n    sys.modules[name] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + text],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "" if without else str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("stage", "available"), [("cam", None), ("segmenter", None), ("segmenter", "flair")])
def test_the_graph_gives_the_command_lines_maps(trained, stage, available, tmp_path, monkeypatch):
    seen = []

    def spy(self, data, call=FuseMapsd.__call__):
        found = call(self, data)
        seen.append({key: torch.as_tensor(found[key]) for key in ("image", "foreground", "cams")})
        return found

    monkeypatch.setattr(FuseMapsd, "__call__", spy)
    run_here(
        CONFIGS[stage],
        **{"modalities": MODALITIES, **SIZE[stage], "precision": "float32"},
        dataset_dir=str(trained["data"]),
        output_dir=str(tmp_path),
        checkpoint=str(checkpoint(trained, stage)),
        available=available,
    )
    slices = {key: value.permute(3, 0, 1, 2) for key, value in seen[0].items()}
    graph = graph_of(trained, stage)
    with torch.no_grad():
        maps, fused = graph(slices["image"].float(), slices["foreground"].float())
    assert slices["cams"].max() > 0
    assert bool(slices["image"][:, 1].any()) == (
        available is None
    )  # a channel of 0 where a modality is missing
    torch.testing.assert_close(torch.cat([maps, fused], dim=1), slices["cams"], rtol=0, atol=1e-5)
    if stage == "segmenter":  # a modality alone is its expert's, and several are not
        with torch.no_grad():
            for weight in graph.network.branches[0].experts.parameters():
                weight.zero_()
            without, _ = graph(slices["image"].float(), slices["foreground"].float())
        assert torch.equal(without, maps) == (available is None)


@pytest.mark.parametrize("stage", ["cam", pytest.param("segmenter", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_documents_programs_give_the_same_map_without_monai(trained, name, stage, tmp_path):
    if any(importlib.util.find_spec(module) is None for module in FORMATS[name].needs):
        pytest.skip(f"{', '.join(FORMATS[name].needs)} are not installed: pip install '.[export]'")
    graph = graph_of(trained, stage)
    export_graph(graph, name, tmp_path)
    first, *others = programs()
    (tmp_path / "D").symlink_to(trained["data"])
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    run_program(first, tmp_path)
    run_program(dict(zip(PROGRAMS, others, strict=True))[name], tmp_path, without=PROGRAMS[name])
    slices = np.load(tmp_path / "slices.npz")
    with torch.no_grad():
        _, fused = graph(*(torch.from_numpy(slices[key]) for key in ("image", "foreground")))
    assert slices["image"].shape == (6, 2, 32, 32)
    assert fused.max() > 0
    np.testing.assert_allclose(np.load(tmp_path / "fused.npy"), fused.numpy(), rtol=0, atol=1e-4)


def test_programs_of_the_documents_are_short():
    assert all(len(program.strip().splitlines()) <= 10 for program in programs())


def test_other_settings_than_the_trainings_are_refused(trained):
    with pytest.raises(ValueError, match=r"trained with other settings \(width was 2, is 3\)"):
        graph_of(trained, "cam", width=3)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.pt does not exist"):
        trained_graph(tmp_path / "nowhere.pt")


def test_weights_alone_do_not_tell_what_they_are_and_the_last_checkpoint_does(trained, tmp_path):
    shutil.copy(checkpoint(trained, "cam"), tmp_path / "model.pt")
    with pytest.raises(FileNotFoundError, match=r"expected model\.json beside it; copy it, too"):
        trained_graph(tmp_path / "model.pt")
    assert (
        trained_graph(trained["cam"] / "checkpoints" / "last.pt").modalities
        == graph_of(trained, "cam").modalities
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"overlays": ["network_unet4"]},
            "no overlay configs/network_unet4.yaml .* did you mean network_unet",
        ),
        ({"overlays": ["tracking"]}, "no overlay configs/tracking.yaml"),
        ({"options": {"widht": 3}}, "'widht' is unknown .* did you mean width"),
    ],
)
def test_slips_are_named(given, message, trained):
    with pytest.raises(ValueError, match=message):
        trained_graph(checkpoint(trained, "cam"), **given)


def test_an_overlay_is_merged(trained):
    with pytest.raises(ValueError, match=r"trained with other settings .*head_channels was 1, is 2"):
        trained_graph(checkpoint(trained, "cam"), overlays=["network_paper"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_tensorrt_asks_for_a_gpu_and_nothing_else(trained, tmp_path):
    with pytest.raises(ValueError, match="TensorRT: expected a CUDA device"):
        on_cuda(torch.nn.Identity())
    done = run_typed(
        *("trt_export", "--args_file", ROOT / "configs" / "export_tensorrt.yaml"),
        *("--ckpt_file", checkpoint(trained, "cam"), "--filepath", tmp_path / "network.ts"),
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: TensorRT: expected a CUDA device")
    assert last in (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")
