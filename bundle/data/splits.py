"""Which cases train, validate and test: by patient, stratified, seeded, written to JSON."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from bundle.data.names import nearest_name
from bundle.data.patients import PatientOf, patient_of

SPLITS = ("train", "validation", "test")
UNUSED = "unused"

Splits = dict[str, list[str]]


@overload
def make_splits(
    cases: Iterable[str],
    strata: Mapping[str, str | None] | None = None,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    folds: None = None,
    patient: PatientOf = patient_of,
    earlier: Sequence[Splits] = (),
) -> Splits: ...


@overload
def make_splits(
    cases: Iterable[str],
    strata: Mapping[str, str | None] | None = None,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    *,
    folds: int,
    patient: PatientOf = patient_of,
    earlier: Sequence[Splits] = (),
) -> list[Splits]: ...


def make_splits(
    cases: Iterable[str],
    strata: Mapping[str, str | None] | None = None,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    folds: int | None = None,
    patient: PatientOf = patient_of,
    earlier: Sequence[Splits] = (),
) -> Splits | list[Splits]:
    """Draw splits. They depend on the set of cases, their strata and the seed, not on any order.

    Args:
        cases: case ids.
        strata: case to group (HGG, LGG); every split gets its share of each.
        fractions: shares of train, validation and test; they add up to 1. A share above 0 gets at least one
            patient.
        seed: of the draw.
        folds: number of folds k. Each patient is then tested in exactly one fold, and validation takes its
            share (of train plus validation) of the rest.
        patient: case to patient; the scans of one patient stay together.
        earlier: a draw, one a fold, to keep: its patients stay where they are, only new ones are drawn.

    Returns:
        ``{"train": […], "validation": […], "test": […]}`` with sorted cases; with ``folds`` a list of k such.

    Raises:
        ValueError: fractions that are no shares, too few patients, a number of folds below 2, or an earlier
            draw with a patient in two splits.
    """
    fractions = [float(f) for f in fractions]
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6 or fractions[0] == 0:
        raise ValueError(
            f"fractions should be shares of {', '.join(SPLITS)} that add up to 1, with some to train on "
            f"(found {fractions}); correct them"
        )
    groups: dict[str, list[str]] = {}
    for case in sorted(set(cases)):
        groups.setdefault(patient(case), []).append(case)
    stratum = {name: str((strata or {}).get(members[0]) or "") for name, members in groups.items()}
    placed = [_places(split, groups) for split in earlier] or [{}] * (folds or 1)
    if folds is None:
        return _with_cases(_share_out(stratum, fractions, seed, placed[0]), groups)
    if folds < 2 or folds > len(groups):
        raise ValueError(
            f"folds should lie between 2 and the number of patients, {len(groups)} (found {folds}); "
            "correct it"
        )
    tested = {name: fold for fold, where in enumerate(placed) for name, s in where.items() if s == "test"}
    sizes = Counter(tested.values())
    for name in _shuffled(stratum, seed):
        if name not in tested:
            tested[name] = min(range(folds), key=lambda fold: sizes[fold])
            sizes[tested[name]] += 1
    kept = fractions[0] + fractions[1]
    drawn = []
    for fold in range(folds):
        rest = {name: stratum[name] for name in stratum if tested[name] != fold}
        shares = [fractions[0] / kept, fractions[1] / kept, 0.0]
        split = _share_out(rest, shares, seed + 1 + fold, placed[fold])
        split["test"] = [name for name in stratum if tested[name] == fold]
        drawn.append(_with_cases(split, groups))
    return drawn


def _places(split: Splits, groups: Mapping[str, list[str]]) -> dict[str, str]:
    """Patient to the split that an earlier draw put its cases into."""
    place = {case: name for name, members in split.items() for case in members}
    places: dict[str, str] = {}
    for name, members in groups.items():
        found = sorted({place[case] for case in members if case in place})
        if len(found) > 1:
            raise ValueError(
                f"patient {name} should be in one split (found in {' and '.join(found)} of an earlier draw); "
                "draw anew"
            )
        if found:
            places[name] = found[0]
    return places


def _shuffled(stratum: Mapping[str, str], seed: int) -> list[str]:
    """Patients, stratum after stratum, in an order drawn within each."""
    draw = np.random.RandomState(seed % 2**32)  # its stream is frozen across numpy's versions
    order: list[str] = []
    for name in sorted(set(stratum.values())):
        members = sorted(patient for patient in stratum if stratum[patient] == name)
        order.extend(members[i] for i in draw.permutation(len(members)))
    return order


def _share_out(
    stratum: Mapping[str, str], fractions: Sequence[float], seed: int, placed: Mapping[str, str]
) -> dict[str, list[str]]:
    """Give every patient to the split that lags most behind its share, of the stratum and then of all; those
    who have a place already come first and keep it."""
    split: dict[str, list[str]] = {name: [] for name in SPLITS}
    share = {name: f for name, f in zip(SPLITS, fractions, strict=True) if f > 0}
    if len(stratum) < len(share):
        raise ValueError(
            f"{', '.join(share)} need a patient each (found {len(stratum)}); "
            "add cases or write splits by hand"
        )
    seen: dict[str, int] = {}
    given: dict[tuple[str, str], int] = {}
    order = sorted(_shuffled(stratum, seed), key=lambda name: name not in placed)
    for count, patient in enumerate(order, start=1):
        group = stratum[patient]
        seen[group] = seen.get(group, 0) + 1

        def lag(name: str, group: str = group, count: int = count) -> tuple[float, float]:
            own = share[name] * seen[group] - given.get((group, name), 0)
            return round(own + share[name] * count - len(split[name]), 9), share[name]

        chosen = placed.get(patient) or max(share, key=lag)
        given[group, chosen] = given.get((group, chosen), 0) + 1
        split[chosen].append(patient)
    for name in share:
        if not split[name]:
            movable = {other: [p for p in members if p not in placed] for other, members in split.items()}
            largest = max(movable, key=lambda other: len(movable[other]))
            if movable[largest] and len(split[largest]) > 1:
                split[largest].remove(movable[largest][-1])
                split[name].append(movable[largest][-1])
    return split


def _with_cases(split: Mapping[str, list[str]], groups: Mapping[str, list[str]]) -> Splits:
    return {name: sorted(case for p in split[name] for case in groups[p]) for name in SPLITS}


def read_splits(path: str | Path, cases: Iterable[str], patient: PatientOf = patient_of) -> Splits:
    """Read splits from JSON and check them against the data set.

    Args:
        path: file with lists of cases under ``train``, ``validation``, ``test``; an absent one is empty. A
            case that no split takes stands under ``unused``: a forgotten one would be lost in silence.
        cases: all cases of the data set.
        patient: case to patient.

    Returns:
        train, validation and test, sorted; without ``unused``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no JSON, unknown names of splits, case ids that are no text, unknown cases, a case listed
            twice, a patient in two splits, cases in no split.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"splits file {path} does not exist; check `--splits`")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"splits {path} should be JSON (found {error}); correct the file") from None
    if not isinstance(content, dict):
        raise ValueError(
            f"splits {path} should map {', '.join(SPLITS)} to cases (found a list); add the names"
        )
    known, keys = sorted(set(cases)), (*SPLITS, UNUSED)
    place: dict[str, tuple[str, str]] = {}
    listed: set[str] = set()
    for name, members in content.items():
        if name not in keys:
            raise ValueError(f"splits {path}: split {name} is not known; {nearest_name(name, keys)}")
        if not isinstance(members, list) or not all(isinstance(case, str) for case in members):
            raise ValueError(
                f'splits {path}: {name} should list case ids as text, such as "017" '
                f"(found {members!r}); quote them"
            )
        for case in members:
            if case not in known:
                raise ValueError(
                    f"splits {path}: case {case} in {name} is not in the data set; "
                    f"{nearest_name(case, known)}"
                )
            split, other = (name, case) if name == UNUSED else place.setdefault(patient(case), (name, case))
            if name != split:
                raise ValueError(
                    f"splits {path}: patient {patient(case)} should be in one split (found in {split}, case "
                    f"{other}, and in {name}, case {case}); remove it from one"
                )
            if case in listed:
                raise ValueError(
                    f"splits {path}: case {case} should be listed once (found twice); remove one"
                )
            listed.add(case)
    missing = [case for case in known if case not in listed]
    if missing:
        raise ValueError(
            f"splits {path}: case {missing[0]} is in no split, as {len(missing)} of {len(known)} are; "
            f'add it, or list it under "{UNUSED}"'
        )
    return {name: sorted(content.get(name, [])) for name in SPLITS}


def write_splits(path: str | Path, splits: Mapping[str, Sequence[str]]) -> Path:
    """Write splits as JSON, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps({k: list(v) for k, v in splits.items()}, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return path


def check_tags_cover(split: str, tags_by_case: Mapping[str, np.ndarray], positive_volumes: int = 0) -> None:
    """Raise `ValueError` unless a split has a positive and a negative slice among its tags.

    Args:
        split: name of the split, for errors.
        tags_by_case: case to its tags (1, 0, -1); leave out blank slices, which are not trained on.
        positive_volumes: number of cases that are tagged positive as a whole; one will do for a positive slice.
    """
    tags = np.concatenate([np.asarray(t).ravel() for t in tags_by_case.values()] or [np.empty(0)])
    for tag, word in ((1, "positive"), (0, "negative")):
        if not (tags == tag).any() and not (tag == 1 and positive_volumes):
            some = ", ".join(list(tags_by_case)[:3]) + (" …" if len(tags_by_case) > 3 else "")
            raise ValueError(
                f"split {split} (cases {some or 'none'}) should have at least one {word} slice (found "
                f"{int((tags == 1).sum())} positive, {int((tags == 0).sum())} negative, "
                f"{int((tags == -1).sum())} untagged or blank); tag more of them, or draw "
                f"other splits by --seed or --fractions, or name them by --splits"
            )
