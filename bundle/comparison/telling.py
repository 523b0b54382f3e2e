"""What a comparison says while it goes on."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from bundle.comparison.cohort import Cohort
from bundle.comparison.execution import Estimate, Outcome
from bundle.comparison.runs import Run, RunSpec
from bundle.comparison.table_values import Table


def tell_plan(runs: Sequence[Run], tables: Sequence[Table], cohort: Cohort, there: int) -> None:
    """Which runs there are, and what is left out."""
    print(f"{cohort.dataset_dir}: {', '.join(cohort.modalities)}, {sum(cohort.cases.values())} cases")
    for table in tables:
        for reason in table.left_out:
            print(f"{table.name}: left out {reason}")
    specs: dict[RunSpec, int] = {}
    for run in runs:
        specs[run.spec] = specs.get(run.spec, 0) + 1
    print(f"{', '.join(table.name for table in tables)}: {len(runs)} runs, {there} of them with a result")
    for spec, count in specs.items():
        print(f"  {count} x {spec.name}")
    sys.stdout.flush()


def tell_cost(estimates: Sequence[Estimate], failed: Mapping[str, str], jobs: int) -> None:
    """Hours of the trainings that were rehearsed."""
    for name, reason in failed.items():
        print(f"{name}: no two steps of it could be taken: {reason}")
    print(f"{'training':<44}{'runs':>5}{'s/step':>9}{'hours each':>12}")
    for entry in estimates:
        print(f"{entry.name:<44}{entry.runs:>5}{entry.seconds_per_step:>9.2f}{entry.hours:>12.1f}")
    hours = sum(entry.hours * entry.runs for entry in estimates)
    together = (
        "" if jobs == 1 else f"; {jobs} at once, if each has a device of its own: {hours / jobs:.1f} hours"
    )
    print(
        f"in all {hours:.1f} hours of training on this device, evaluation not counted{together}", flush=True
    )


def tell_outcome(outcome: Outcome, count: int) -> None:
    """How many runs have a result, and which failed."""
    print(f"{len(outcome.found)} of {count} runs have a result, {len(outcome.made)} of them made now")
    if outcome.missing:
        print(f"{len(outcome.missing)} are left to other shards; run without --shard once they are done")
    if outcome.failed:
        print(f"{len(outcome.failed)} failed; the same command tries them again:")
        for name, reason in outcome.failed.items():
            print(f"  {name}: {reason}")
