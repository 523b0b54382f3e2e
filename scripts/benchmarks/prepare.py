"""Preparing a cohort: how fast, and how much of it is unpacking files."""

from __future__ import annotations

import gzip
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bundle.data import CaseRecord, PrepareOptions, prepare_cohort, read_case
from scripts.benchmarks.options import BenchmarkOptions
from scripts.benchmarks.synthetic_scans import write_scans


def measure_prepare(options: BenchmarkOptions) -> dict[str, Any]:
    """``ratio`` is one worker process / two. The first case is always read alone, to learn what the others
    will need, and starting a process costs the imports, so few cases gain nothing. ``unpack_frac`` is the
    share of a case's time that gzip alone takes, ``read_frac`` that of reading with all checks.
    """
    names = options.names(options.modalities)
    with TemporaryDirectory(prefix="benchmark_") as folder:
        records = write_scans(Path(folder) / "raw", names, options.volume, options.cases)
        one, two = (_prepare(records, Path(folder), options, workers) for workers in (1, 2))
        unpacking, reading = _unpack(records[0]), _read(records[0])
    return {
        "ratio": one / two,
        "cases": options.cases,
        "cases_per_second": options.cases / one,
        "cases_per_second_2_workers": options.cases / two,
        "unpack_frac": unpacking * options.cases / one,
        "read_frac": reading * options.cases / one,
        "volume": "x".join(map(str, options.volume)),
        "modalities": options.modalities,
    }


def _prepare(records: list[CaseRecord], folder: Path, options: BenchmarkOptions, workers: int) -> float:
    names = options.names(options.modalities)
    how = PrepareOptions(names, tags_from_masks=True, spatial_size=options.size, workers=workers)
    begun = time.perf_counter()
    prepare_cohort(records, folder / f"prepared_{workers}", how, progress=False)
    return time.perf_counter() - begun


def _unpack(record: CaseRecord) -> float:
    begun = time.perf_counter()
    for source in record.images.values():
        gzip.decompress(source.path.read_bytes())
    return time.perf_counter() - begun


def _read(record: CaseRecord) -> float:
    begun = time.perf_counter()
    read_case(record)
    return time.perf_counter() - begun
