"""The figures of one part, or of all, as one flat mapping."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import torch
from tqdm import tqdm

from bundle.data import nearest_name
from bundle.inferers.precision import cpu_capabilities, resolve_precision
from scripts.benchmarks.inference import measure_inference
from scripts.benchmarks.metrics import measure_metrics
from scripts.benchmarks.options import BenchmarkOptions
from scripts.benchmarks.prepare import measure_prepare
from scripts.benchmarks.step import measure_step

PARTS: dict[str, Callable[[BenchmarkOptions], dict[str, Any]]] = {
    "step": measure_step,
    "inference": measure_inference,
    "prepare": measure_prepare,
    "metrics": measure_metrics,
}


def measure(part: str, options: BenchmarkOptions) -> dict[str, Any]:
    """Figures of ``part``; for ``all``, each name has its part in front (``step_ratio``).

    Raises:
        ValueError: for an unknown part.
    """
    if part not in (*PARTS, "all"):
        raise ValueError(f"benchmark {part!r} is unknown; {nearest_name(part, [*PARTS, 'all'])}")
    found: dict[str, Any] = {}
    chosen = list(PARTS) if part == "all" else [part]
    for name in (bar := tqdm(chosen, unit="part")):
        bar.set_description(name)
        prefix = f"{name}_" if part == "all" else ""
        found |= {f"{prefix}{key}": value for key, value in PARTS[name](options).items()}
    return {
        **found,
        "width": options.width,
        "levels": options.levels,
        "rounds": options.rounds,
        "threads": torch.get_num_threads(),
        "processor": cpu_capabilities().get("cpu_name") or platform.processor(),
        "fastest_precision": resolve_precision("cpu", "auto"),
        "torch": torch.__version__,
    }
