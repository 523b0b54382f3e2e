"""Many case jobs at once: in worker processes, with a bar, stopping or skipping at a bad case."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import closing
from typing import Any

import torch
from tqdm import tqdm

from bundle.data.case_job import CaseJob, DiskFullError

GIGABYTE = 1e9
POOL_WORTH_SECONDS = 15.0  # starting processes costs about as much, as each imports torch and MONAI


def run_jobs(
    jobs: Sequence[CaseJob], workers: int | None = None, on_error: str = "stop", progress: bool = True
) -> dict[str, str]:
    """Runs the jobs whose case is missing or out of date.

    Args:
        jobs: one a case.
        workers: processes; ``None`` for one a core, or none at all where few cases remain.
        on_error: ``stop`` raises the first error, ``skip`` collects those of bad cases.
        progress: show a bar.

    Returns:
        Case to the reason why it could not be prepared.

    Raises:
        ValueError, FileNotFoundError: the first bad case, if `on_error` is ``stop``; what had begun is
            finished.
        DiskFullError: the disk is full, or too small for the cases to come.
    """
    due = [job.needs_reading() for job in jobs]
    reading = [job for job, needed in zip(jobs, due, strict=True) if needed]
    current = [job for job, needed in zip(jobs, due, strict=True) if not needed]
    left_out: dict[str, str] = {}
    measured = None
    with (
        tqdm(total=len(jobs), desc="prepare", unit="case", disable=not progress) as bar,
        closing(_outcomes(current, reading, workers)) as outcomes,  # an error stops what has not begun
    ):
        for job, was_read, error in outcomes:
            bar.update()
            if error is not None and (on_error == "stop" or not _is_of_case(error)):
                raise error
            if error is not None:
                left_out[job.record.case] = str(error)
                continue
            if was_read and measured is None:
                measured = job
                _check_space(job, len(reading) - 1)
    return dict(sorted(left_out.items()))


def _is_of_case(error: BaseException) -> bool:
    """Whether an error says that this case is bad, so that leaving it out helps."""
    return isinstance(error, (ValueError, OSError)) and not isinstance(error, DiskFullError)


def _outcomes(
    current: Sequence[CaseJob], reading: Sequence[CaseJob], workers: int | None
) -> Generator[tuple[CaseJob, bool, BaseException | None]]:
    """Each job with whether its scans were read and what went wrong, as they come."""
    for job, error in _in_turn(current):
        yield job, False, error
    begun = time.monotonic()
    for job, error in _in_turn(reading[:1]):  # alone, to learn its size and duration
        yield job, True, error
    remaining = reading[1:]
    alone = workers is None and (time.monotonic() - begun) * len(remaining) < POOL_WORTH_SECONDS
    with closing(_in_turn(remaining) if alone else _in_parallel(remaining, workers)) as outcomes:
        for job, error in outcomes:
            yield job, True, error


def _in_turn(jobs: Sequence[CaseJob]) -> Generator[tuple[CaseJob, BaseException | None]]:
    for job in jobs:
        try:
            job.run()
        except Exception as error:  # the caller raises it, or lists it
            yield job, error
        else:
            yield job, None


def _in_parallel(
    jobs: Sequence[CaseJob], workers: int | None
) -> Generator[tuple[CaseJob, BaseException | None]]:
    """Outcomes as they come; closing it stops the jobs that have not begun and waits for the others."""
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers <= 1:
        yield from _in_turn(jobs)
        return
    context = multiprocessing.get_context("spawn")  # a fork after torch has started threads can hang
    pool = ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,))
    try:
        futures: dict[Future[Any], CaseJob] = {pool.submit(job.run): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.exception()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check_space(first: CaseJob, remaining: int) -> None:
    """Compares what the other cases will need, going by the first, with what is free."""
    needed = first.stored_bytes() * remaining
    free = shutil.disk_usage(first.output_dir).free
    if needed > free:
        raise DiskFullError(
            f"{remaining} more cases need about {needed / GIGABYTE:.1f} GB, but {free / GIGABYTE:.1f} GB "
            f"are free in {first.output_dir}; free some space, choose another --output_dir "
            "or a smaller --spatial_size"
        )
