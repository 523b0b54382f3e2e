"""Scoring a case: all maps, distances and the curve over thresholds, against the plain way."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_average_surface_distance

from bundle.metrics import FUSED, THRESHOLDS, score_case
from scripts.benchmarks.in_turn import median_ratio, time_in_turn
from scripts.benchmarks.options import BenchmarkOptions
from scripts.benchmarks.synthetic_scans import make_head

CASES = 32  # that the target is stated for


def measure_metrics(options: BenchmarkOptions) -> dict[str, Any]:
    """``ratio`` is plain / ours; ``seconds_32_cases`` is ours for 32 such cases (target: under 60).

    Plain: one pass over the whole volume for each threshold, and distances on the whole volume.
    """
    cams, truth = _maps(options)
    names = [*options.names(options.modalities), FUSED]
    ours = partial(
        score_case, "000", cams, cams > np.float32(0.5), truth, names=names, spacing_mm=(1.0, 1.0, 1.0)
    )
    variants: dict[str, Callable[[], object]] = {"ours": ours, "plain": partial(_plain, cams, truth)}
    seconds = time_in_turn(variants, max(1, options.rounds // 3))
    return {
        "ratio": median_ratio(seconds["plain"], seconds["ours"]),
        "seconds_per_case": statistics.median(seconds["ours"]),
        "seconds_32_cases": CASES * statistics.median(seconds["ours"]),
        "plain_seconds_per_case": statistics.median(seconds["plain"]),
        "volume": "x".join(map(str, options.volume)),
        "modalities": options.modalities,
    }


def _maps(options: BenchmarkOptions) -> tuple[np.ndarray, np.ndarray]:
    """Maps that are high in the lesion and noise in the rest of the head, fused last, and the truth."""
    head, lesion = make_head(options.volume)
    noise = np.random.default_rng(0)
    cams = np.zeros((options.modalities + 1, *options.volume), dtype=np.float32)
    for cam in cams[:-1]:
        values = 0.5 * noise.random(options.volume, dtype=np.float32)
        cam[head] = (values + np.float32(0.45) * lesion)[head]
    cams[-1] = cams[:-1].max(axis=0)
    return cams, lesion & head


def _plain(cams: np.ndarray, truth: np.ndarray) -> None:
    for cam in cams:
        for threshold in THRESHOLDS:
            mask = cam > np.float32(threshold)
            size = int(np.count_nonzero(mask)) + int(np.count_nonzero(truth))
            2 * int(np.count_nonzero(mask & truth)) / max(size, 1)
        predicted, true = (torch.from_numpy(part)[None, None] for part in (cam > np.float32(0.5), truth))
        compute_average_surface_distance(
            predicted, true, include_background=True, symmetric=True, spacing=[1.0] * 3
        )
