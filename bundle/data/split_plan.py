"""Which split a data set gets: the one given, a new draw, or the earlier draw with the new patients added."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.data.cache import write_json
from bundle.data.patients import Patients, read_patients
from bundle.data.records import CaseRecord
from bundle.data.splits import SPLITS, Splits, make_splits, read_splits, write_splits

if TYPE_CHECKING:
    from bundle.data.prepare import PrepareOptions

DEFAULT_FRACTIONS = (0.7, 0.1, 0.2)
ASKED = "splits_asked.json"  # what the draw in splits.json answers


@dataclass(frozen=True)
class SplitPlan:
    """Splits of a data set, and what was asked for.

    Args:
        splits: the split, or one a fold.
        asked: seed, fractions and folds of a draw; empty for a split that was given.
        folds: whether the folds have files of their own.
        notes: warnings.
    """

    splits: list[Splits]
    asked: dict[str, Any]
    folds: bool = False
    notes: list[str] = field(default_factory=list)

    def without(self, cases: Sequence[str]) -> list[Splits]:
        """The splits without cases that were left out."""
        return [{name: [c for c in s if c not in cases] for name, s in fold.items()} for fold in self.splits]


def plan_splits(records: Sequence[CaseRecord], options: PrepareOptions, output_dir: Path) -> SplitPlan:
    """Reads the split that is given, or draws one.

    A draw that is there already and was asked for in the same way keeps its patients where they are, so that
    no patient whom a model was trained on moves to the test split; only new patients are drawn.

    Raises:
        ValueError, FileNotFoundError: as `read_patients`, `read_splits` and `make_splits`.
    """
    cases = sorted(record.case for record in records)
    patient = Patients() if options.patients is None else read_patients(options.patients, cases)
    earlier = _read_earlier(output_dir, options.folds, set(cases))
    if options.splits is not None:
        given = [read_splits(options.splits, cases, patient)]
        return SplitPlan(given, {}, notes=_moved(earlier, given))
    fractions = options.fractions or DEFAULT_FRACTIONS
    asked = {"seed": options.seed, "fractions": list(fractions), "folds": options.folds}
    if options.folds is None and options.fractions is None and len(set(map(patient, cases))) < len(SPLITS):
        few: Splits = {"train": [], "validation": [], "test": cases}  # enough to predict and score
        return SplitPlan([few], asked, notes=_moved(earlier, [few]))
    strata = {record.case: record.stratum for record in records}
    same = _asked(output_dir) == asked and any(fold["train"] for fold in earlier)
    kept = earlier if same and not any(_parts_a_patient(fold, patient) for fold in earlier) else []
    if options.folds is None:
        drawn = [make_splits(cases, strata, fractions, options.seed, patient=patient, earlier=kept)]
    else:
        drawn = make_splits(
            cases, strata, fractions, options.seed, folds=options.folds, patient=patient, earlier=kept
        )
    return SplitPlan(drawn, asked, options.folds is not None, _moved(earlier, drawn))


def write_plan(output_dir: Path, plan: SplitPlan, splits: Sequence[Splits]) -> None:
    """Writes splits.json, the folds' files and what was asked for; other files of splits are left alone."""
    for file in output_dir.glob("splits_fold*.json"):
        if re.fullmatch(r"splits_fold\d+\.json", file.name):
            file.unlink()
    write_splits(output_dir / "splits.json", splits[0])
    for number, fold in enumerate(splits if plan.folds else []):
        write_splits(output_dir / f"splits_fold{number}.json", fold)
    write_json(output_dir / ASKED, plan.asked)


def _asked(output_dir: Path) -> dict[str, Any] | None:
    file = output_dir / ASKED
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _read_earlier(output_dir: Path, folds: int | None, cases: set[str]) -> list[Splits]:
    """Splits that are there, without cases that are gone; none if their number is another."""
    names = ["splits.json"] if folds is None else [f"splits_fold{fold}.json" for fold in range(folds)]
    files = [output_dir / name for name in names]
    if not all(file.is_file() for file in files):
        return []
    read = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return [{name: [c for c in fold.get(name, []) if c in cases] for name in SPLITS} for fold in read]


def _parts_a_patient(split: Splits, patient: Patients) -> bool:
    """Whether a patient stands in two splits, as after a new table of patients."""
    place: dict[str, str] = {}
    return any(place.setdefault(patient(case), name) != name for name in split for case in split[name])


def _moved(earlier: Sequence[Splits], splits: Sequence[Splits]) -> list[str]:
    """A warning if a case that was for training or validation is for testing now."""
    moved = sorted(
        {
            case
            for before, now in zip(earlier, splits, strict=False)
            for case in {*before["train"], *before["validation"]} & set(now["test"])
        }
    )
    if not moved:
        return []
    some = ", ".join(moved[:3]) + (" …" if len(moved) > 3 else "")
    return [
        f"Warning: the splits are drawn anew, and {len(moved)} cases that were for training or validation are for "
        f"testing now ({some}): train again, and score no model trained before."
    ]
