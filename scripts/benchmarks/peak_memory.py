"""Peak memory of one piece of work, alone in a fresh process."""

from __future__ import annotations

import multiprocessing
import re
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any


def peak_mib(work: Callable[..., object], *values: Any) -> float:
    """Largest resident memory in MiB of a new process that runs `work`, the libraries it imports included.

    Args:
        work: function at the top of a module.
        values: its arguments.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_run, work, values).result()


def _run(work: Callable[..., object], values: tuple[Any, ...]) -> float:
    work(*values)
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss of a child starts at what its parent held when it was forked
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found.group(1)) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024
