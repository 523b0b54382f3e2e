"""Write a graph in each format, read it back, and compare."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.export import Dim

from bundle.data.names import nearest_name
from bundle.export.graph import FusedMapGraph

TOLERANCE = 1e-4
# Batch size and side of the slices: one that is traced, and what the file is compared on.
TRACED = (2, 64)
COMPARED = ((1, 64), (3, 96), (1, 96), (3, 64))

Maps = tuple[torch.Tensor, torch.Tensor]
Run = Callable[[torch.Tensor, torch.Tensor], Maps]


@dataclass(frozen=True)
class Format:
    """A file format.

    Args:
        suffix: of the files.
        write: a graph to a path.
        read: a path to what maps image and foreground to maps and fused map.
        needs: modules that are no dependency of the bundle.
    """

    suffix: str
    write: Callable[[FusedMapGraph, Path], None]
    read: Callable[[Path], Run]
    needs: tuple[str, ...] = ()


def export_graph(graph: FusedMapGraph, name: str, folder: str | Path) -> tuple[Path, float]:
    """Write ``fused_map`` in a format, and compare what is read back with the graph; a file that differs is not kept.

    Args:
        graph: what is exported.
        name: of the format, see `FORMATS`.
        folder: where to; made if missing.

    Returns:
        The file, and the largest difference of any pixel of any map.

    Raises:
        ValueError: unknown format, missing packages, a network that the exporter does not understand, or maps that
            differ by more than 1e-4.
    """
    if name not in FORMATS:
        raise ValueError(f"format: {name!r} is unknown; {nearest_name(name, FORMATS)}")
    form = FORMATS[name]
    missing = [module for module in form.needs if importlib.util.find_spec(module) is None]
    if missing:
        raise ValueError(
            f"{name}: expected the packages {', '.join(form.needs)}, found no {', '.join(missing)}; "
            f"run `pip install '.[export]'`"
        )
    path = Path(folder) / f"fused_map{form.suffix}"
    unchecked = path.with_name(f"unchecked_{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with torch.no_grad(), _quiet():
            _written(graph, name, unchecked)
            difference = largest_difference(graph, form.read(unchecked))
        if not difference <= TOLERANCE:
            raise ValueError(
                f"{name}: expected maps within {TOLERANCE:g} of the network's own, found {difference:.2g}; "
                f"the file was not kept. A slice whose evidence is flat is scaled up by cam_reader's scale slice"
            )
        os.replace(unchecked, path)
    finally:
        unchecked.unlink(missing_ok=True)
    return path, difference


def largest_difference(graph: FusedMapGraph, run: Run) -> float:
    """Of any pixel of any map of random slices, with all modalities and with one alone, in two sizes and two batch
    sizes; nan if there is any."""
    found, count = [0.0], len(graph.modalities)
    for batch, side in COMPARED:
        image, foreground = random_slices(count, batch, side)
        alone = image * torch.eye(count)[:, :, None, None].repeat(batch, 1, 1, 1)[:batch]
        for slices in ((image, foreground), (alone, foreground)):
            pairs = zip(graph(*slices), run(*slices), strict=True)
            found += [float((one - other).abs().max()) for one, other in pairs]
    return float(torch.tensor(found).max())


def random_slices(modalities: int, batch: int, side: int) -> Maps:
    """Noise in a disc, image (B, K, H, W) and foreground (B, 1, H, W); the same at each call."""
    generator = torch.Generator().manual_seed(side + batch)
    axis = torch.linspace(-1, 1, side)
    disc = (axis[:, None] ** 2 + axis**2 < 0.8).float().expand(batch, 1, side, side).contiguous()
    return torch.randn(batch, modalities, side, side, generator=generator) * disc, disc


def _written(graph: FusedMapGraph, name: str, path: Path) -> None:
    try:
        FORMATS[name].write(graph, path)
    except Exception as error:  # exporters raise whatever they stumble over
        first = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{name}: {type(graph.network).__name__} with {type(graph.inferer).__name__} cannot be exported "
            f"({type(error).__name__}: {first}); expected operations on tensors alone, of any batch size: rewrite the "
            f"part that is named, or take another format of {', '.join(FORMATS)}"
        ) from error


def _example(graph: FusedMapGraph) -> Maps:
    return random_slices(len(graph.modalities), *TRACED)


def _order(graph: FusedMapGraph) -> str:
    """Of the channels, as each file says it."""
    return ",".join(graph.modalities)


def _write_torchscript(graph: FusedMapGraph, path: Path) -> None:
    traced = torch.jit.trace(graph, _example(graph), check_trace=False)
    torch.jit.save(traced, str(path), _extra_files={"modalities": _order(graph)})


def _read_torchscript(path: Path) -> Run:
    return torch.jit.load(str(path))


def _program(graph: FusedMapGraph) -> torch.export.ExportedProgram:
    free = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    return torch.export.export(
        graph, _example(graph), dynamic_shapes={"image": free, "foreground": dict(free)}
    )


def _write_program(graph: FusedMapGraph, path: Path) -> None:
    torch.export.save(_program(graph), path, extra_files={"modalities": _order(graph)})


def _read_program(path: Path) -> Run:
    return torch.export.load(path).module()


def _write_onnx(graph: FusedMapGraph, path: Path) -> None:
    made = torch.onnx.export(
        _program(graph),
        dynamo=True,
        input_names=["image", "foreground"],
        output_names=["maps", "fused"],
        verbose=False,
    )
    assert made is not None
    made.model.metadata_props["modalities"] = _order(graph)
    made.save(str(path), external_data=False)


def _read_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(image: torch.Tensor, foreground: torch.Tensor) -> Maps:
        maps, fused = session.run(None, {"image": image.numpy(), "foreground": foreground.numpy()})
        return torch.from_numpy(maps), torch.from_numpy(fused)

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracer's remarks on checks of shapes, which the comparison at others answers, and torch's advice."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for kind in (torch.jit.TracerWarning, DeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", kind)
            warnings.filterwarnings(
                "ignore", "overflow encountered in cast"
            )  # of ONNX's constants for "no limit"
            yield
    finally:
        logger.setLevel(level)


FORMATS = {
    "torchscript": Format(".ts", _write_torchscript, _read_torchscript),
    "export": Format(".pt2", _write_program, _read_program),
    "onnx": Format(".onnx", _write_onnx, _read_onnx, ("onnx", "onnxscript", "onnxruntime")),
}
