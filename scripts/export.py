"""A trained network for programs without MONAI: ``python -m scripts.export FORMAT --checkpoint R/models/model.pt``."""

from __future__ import annotations

from pathlib import Path

from fire.parser import DefaultParseValue

from bundle.data.names import name_list, nearest_name
from bundle.export import FORMATS, export_graph, trained_graph
from scripts.command_line import output_folder, quoted_flags, run, text


def export(
    format: str,
    *,
    checkpoint: str | None = None,
    output_dir: str | None = None,
    configs: str | None = None,
    options: str | None = None,
) -> int:
    """Writes all that inference does with a slice, from normalised intensities to the fused map, as one file.

    Each file is read back and compared with the network on random slices of two sizes and two batch sizes; one that
    differs by more than 1e-4 is refused. What comes before and after, and how to run the files: docs/exports.md.

    Args:
        format: torchscript (.ts), export (torch.export, .pt2), onnx (.onnx), or all.
        checkpoint: models/model.pt of the training.
        output_dir: where to; by default beside the checkpoint.
        configs: overlays of inference, such as method_paper; the training's are in already.
        options: flags of inference in quotes, such as "--fusion mean".
    """
    formats = list(FORMATS) if format == "all" else [format]
    if formats[0] not in FORMATS:
        raise ValueError(f"format {format!r} is unknown; {nearest_name(format, [*FORMATS, 'all'])}")
    if text(checkpoint) is None:
        raise ValueError("--checkpoint is needed: models/model.pt of a training")
    given = {name: DefaultParseValue(value) for name, value in quoted_flags("options", options).items()}
    folder = output_folder(output_dir) if text(output_dir) else Path(str(checkpoint)).parent
    graph = trained_graph(str(checkpoint), name_list(configs) if text(configs) else (), given)
    print(f"channels {', '.join(graph.modalities)}")
    for name in formats:
        path, difference = export_graph(graph, name, folder)
        print(f"{name:<12}{path}  largest difference {difference:.1e}", flush=True)
    return 0


if __name__ == "__main__":
    run(export, quoting=("options",))
