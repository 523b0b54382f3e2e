"""How fast it is, beside the plain way of doing the same: ``python -m scripts.benchmark PART``."""

from __future__ import annotations

import json as json_format
from pathlib import Path

from scripts.benchmarks.options import BenchmarkOptions
from scripts.benchmarks.report import measure
from scripts.command_line import numbers, run, text, whole


def benchmark(
    part: str,
    *,
    json: str | None = None,
    width: str = "16",
    levels: str = "2",
    size: str = "96",
    batch_size: str = "16",
    modalities: str | None = None,
    volume: str = "240,240,155",
    cases: str = "3",
    rounds: str = "10",
) -> None:
    """Measures ours and the plain reference in turn and prints the figures.

    Args:
        part: step, inference, prepare, metrics, or all of them.
        json: file to write the figures to as well: one flat mapping, with `ratio`.
        width: channels of the U-Net's first level.
        levels: its poolings.
        size: side of the training slices in pixels.
        batch_size: slices per step and per forward pass.
        modalities: K, by default 2 for step and 4 for the others.
        volume: voxels of a scan along its axes.
        cases: scans to prepare, and to compare the memory of inference over with that of one.
        rounds: measurements of each variant.
    """
    chosen = BenchmarkOptions(
        width=_count("width", width),
        levels=_count("levels", levels),
        size=_count("size", size),
        batch_size=_count("batch_size", batch_size),
        step_modalities=_count("modalities", modalities or "2"),
        modalities=_count("modalities", modalities or "4"),
        volume=tuple(numbers("volume", volume, int)),
        cases=_count("cases", cases),
        rounds=_count("rounds", rounds),
    )
    found = measure(part, chosen)
    for name, value in found.items():
        print(f"{name:<34}{value:.4g}" if isinstance(value, float) else f"{name:<34}{value}")
    if text(json) is not None:
        path = Path(str(json))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json_format.dumps(found, indent=1) + "\n", encoding="utf-8")


def _count(name: str, value: str) -> int:
    return whole(name, value) or 0


if __name__ == "__main__":
    run(benchmark)
