"""Preparing a cohort: in parallel, resumable, each case whole or not at all."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bundle.data.cache import FORMAT, PreparedCase, write_json
from bundle.data.case_job import CaseJob
from bundle.data.labels import VOLUME_METHOD
from bundle.data.records import CaseRecord
from bundle.data.run_jobs import run_jobs
from bundle.data.split_plan import SplitPlan, plan_splits, write_plan
from bundle.data.splits import Splits, check_tags_cover
from bundle.data.tags import read_tags

CHAIN = Path(__file__).resolve().parents[2] / "scripts" / "run_chain.py"
POOLINGS = 3  # of the paper's network; ours has 2


@dataclass(frozen=True)
class PrepareOptions:
    """How a cohort is prepared.

    Args:
        modalities: which ones, in this order.
        tags: CSV with tags, or several with commas between; ``None`` for none (enough for predicting).
        first_slice: number that the CSV gives the first slice.
        tags_from_masks: derive the tags from the masks instead, for benchmarks.
        splits: JSON with train, validation and test; ``None`` to draw them.
        folds: number of folds to draw as well, each with a file of its own.
        patients: CSV of case,patient; the scans of one patient stay in one split.
        fractions: shares of train, validation and test; by default 0.7, 0.1 and 0.2 of the patients, and
            all of fewer than three to test.
        seed: of the drawn splits.
        reference: modality whose grid the others are resampled onto.
        affines_from_reference: trust the reference's affine where headers disagree.
        spatial_size: side of the slices in pixels, ``None`` to keep the scan's.
        workers: processes; by default one a core. The result does not depend on it.
        on_error: ``stop`` at the first case that fails, or ``skip`` it and prepare the rest.
    """

    modalities: Sequence[str]
    tags: str | Path | None = None
    first_slice: int = 0
    tags_from_masks: bool = False
    splits: Path | None = None
    folds: int | None = None
    patients: Path | None = None
    fractions: Sequence[float] | None = None
    seed: int = 0
    reference: str | None = None
    affines_from_reference: bool = False
    spatial_size: int | None = 96
    workers: int | None = None
    on_error: str = "stop"

    def __post_init__(self) -> None:
        if self.on_error not in ("stop", "skip"):
            raise ValueError(f"--on_error is {self.on_error!r}, expected stop or skip; choose one")
        if self.tags is not None and self.tags_from_masks:
            raise ValueError("--tags and --tags_from_masks were both given, expected one; drop the other")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"--workers is {self.workers}, expected at least 1; leave it out for one a core")


@dataclass
class Preparation:
    """What was prepared.

    Args:
        output_dir: the prepared data set.
        cases: prepared cases, sorted.
        left_out: case to the reason why it was skipped.
        splits: the split, or one a fold.
        notes: warnings.
    """

    output_dir: Path
    cases: list[str]
    left_out: dict[str, str] = field(default_factory=dict)
    splits: list[Splits] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Cases and slices of each split, what was left out, and the next command."""
        lines = [f"{self.output_dir}: {len(self.cases)} cases prepared", ""]
        lines.append(f"{'split':<12}{'cases':>7}{'positive':>10}{'negative':>10}{'untagged':>10}{'blank':>8}")
        for fold, splits in enumerate(self.splits):
            for name, cases in splits.items():
                label = name if len(self.splits) == 1 else f"{fold} {name}"
                lines.append(f"{label:<12}{len(cases):>7}" + self._counts(cases))
        if self.left_out:
            lines += ["", f"{len(self.left_out)} cases were left out:"]
            lines += [f"  {case}: {reason}" for case, reason in self.left_out.items()]
        if self.notes:
            lines += ["", *self.notes]
        if not any((self._case(case).tags >= 0).any() for case in self.cases):
            lines += [
                "",
                "No slice is tagged: enough to predict and score; to train, give --tags or --tags_from_masks",
            ]
        lines += ["", f"Next: {self._next()}"]
        return "\n".join(lines)

    def _next(self) -> str:
        """The whole chain, or prediction where there is no tag to train on."""
        if not CHAIN.is_file():  # in a packed bundle
            return f"the commands in docs/README.md, with {self.output_dir} as D"
        action, overlay = "monai.bundle run --config_file configs/inference.yaml", ""
        if any((self._tags(splits["train"]) >= 0).any() for splits in self.splits):
            action = "scripts.run_chain"
            if _positive_volumes(self.output_dir, self.cases):
                overlay = f" --cam_configs {VOLUME_METHOD}"
        # modalities are named always: the configs' default is another list
        names = f" --modalities {','.join(self._case(self.cases[0]).modalities)}" if self.cases else ""
        folder = shlex.quote(str(self.output_dir))
        return f"python -m {action} --dataset_dir {folder} --output_dir R{names}{overlay}"

    def _counts(self, cases: Sequence[str]) -> str:
        blank = sum(int(self._case(case).blank.sum()) for case in cases)
        tags = self._tags(cases)
        counts = [int((tags == tag).sum()) for tag in (1, 0, -1)]
        return "".join(f"{count:>10}" for count in counts) + f"{blank:>8}"

    def _tags(self, cases: Sequence[str]) -> np.ndarray:
        """Tags of all slices that are not blank."""
        kept = [case.tags[~case.blank] for case in map(self._case, cases)]
        return np.concatenate([np.zeros(0, np.int8), *kept])

    def _case(self, case: str) -> PreparedCase:
        return PreparedCase.open(self.output_dir / "cases" / case)


def prepare_cohort(
    records: Sequence[CaseRecord],
    output_dir: str | Path,
    options: PrepareOptions,
    source: str = "folder",
    progress: bool = True,
    patterns: Mapping[str, str] | None = None,
) -> Preparation:
    """Prepares every case into `output_dir`, or what is not there yet or out of date.

    Args:
        records: the cases.
        output_dir: the prepared data set, made if it is missing.
        options: how.
        source: kind of source, for dataset.json.
        progress: show a bar.
        patterns: by which the scans were found, for dataset.json.

    Raises:
        ValueError, FileNotFoundError: bad tags or splits; the first bad case, unless cases are skipped.
            Cases that were finished stay, and the same call goes on from them.
    """
    output_dir = Path(output_dir)
    names = sorted(record.case for record in records)
    table = None
    if options.tags is not None:
        table = read_tags(options.tags, options.first_slice)
        table.check_cases(names)
    plan = plan_splits(records, options, output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(output_dir / ".partial", ignore_errors=True)  # of a run that was killed
    jobs = [
        CaseJob(
            record=record,
            output_dir=output_dir,
            modalities=tuple(options.modalities),
            spatial_size=options.spatial_size,
            reference=options.reference,
            affines_from_reference=options.affines_from_reference,
            table=table,
            tags_from_masks=options.tags_from_masks,
        )
        for record in sorted(records, key=lambda record: record.case)
    ]
    if any(job.alters() for job in jobs):
        (output_dir / "dataset.json").unlink(missing_ok=True)  # until all cases are of one kind again
    left_out = run_jobs(jobs, options.workers, options.on_error, progress)
    shutil.rmtree(output_dir / ".partial", ignore_errors=True)
    cases = [name for name in names if name not in left_out]
    if not cases:
        raise ValueError(
            f"none of {len(names)} cases could be prepared; the first: {next(iter(left_out.values()))}"
        )
    splits = plan.without(list(left_out))
    if table is not None or options.tags_from_masks:
        tags = {case: _trained_tags(output_dir / "cases" / case) for case in cases}
        for fold in splits:
            for name in ("train", "validation"):
                if fold[name]:
                    chosen = {case: tags[case] for case in fold[name]}
                    check_tags_cover(name, chosen, len(_positive_volumes(output_dir, fold[name])))
    _write_index(output_dir, plan, splits, cases, options, source, patterns)
    notes = [*plan.notes, *_size_notes(output_dir / "cases" / case for case in cases)]
    if volumes := _positive_volumes(output_dir, cases):
        notes.append(
            f"{len(volumes)} cases are tagged positive as a whole: their slices stay untagged, and only "
            f"configs/{VOLUME_METHOD}.yaml learns from them."
        )
    return Preparation(output_dir, cases, left_out, splits, notes)


def _positive_volumes(output_dir: Path, cases: Iterable[str]) -> list[str]:
    """Cases that were tagged positive as a whole, so that nobody knows which of their slices are."""
    folders = ((case, output_dir / "cases" / case) for case in cases)
    return [case for case, folder in folders if "volume_tag" in PreparedCase.open(folder).described]


def _trained_tags(folder: Path) -> np.ndarray:
    """A case's tags, with blank slices untagged, as training sees them."""
    case = PreparedCase.open(folder)
    return np.where(case.blank, np.int8(-1), case.tags)


def recorded_source(dataset_dir: str | Path) -> str:
    """Kind of source that a data set was prepared from, such as ``phantom``; empty if it is none of ours."""
    file = Path(dataset_dir) / "dataset.json"
    return str(json.loads(file.read_text(encoding="utf-8")).get("source", "")) if file.is_file() else ""


def _write_index(
    output_dir: Path,
    plan: SplitPlan,
    splits: list[Splits],
    cases: list[str],
    options: PrepareOptions,
    source: str,
    patterns: Mapping[str, str] | None,
) -> None:
    """Writes the splits, then dataset.json, whose presence says that the data set is whole."""
    reading = {  # what new scans are to be found and read by as well
        "patterns": dict(patterns or {}),
        "reference": options.reference,
        "affines_from_reference": options.affines_from_reference,
    }
    write_plan(output_dir, plan, splits)
    write_json(
        output_dir / "dataset.json",
        {
            "format": FORMAT,
            "source": source,
            "modalities": list(options.modalities),
            "spatial_size": options.spatial_size,
            "cases": cases,
            **{name: value for name, value in reading.items() if value},
        },
    )


def _size_notes(folders: Iterable[Path]) -> list[str]:
    """A warning for slices that a network with `POOLINGS` levels cannot halve that often."""
    step = 2**POOLINGS
    sizes = {PreparedCase.open(folder).geometry.size for folder in folders}
    return [
        f"Warning: slices of {size} pixels are no multiple of {step}, which the paper's network needs (the "
        f"default one: of {step // 2}); prepare with --spatial_size {max(1, round(size / step)) * step}."
        for size in sorted(sizes)
        if size % step
    ]
