"""Splits: by patient, stratified, seeded."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain

import numpy as np
import pytest

from bundle.data.splits import SPLITS, check_tags_cover, make_splits, patient_of, read_splits, write_splits

CASES = [f"{i:03d}" for i in range(40)]
STRATA = {case: "HGG" if int(case) < 30 else "LGG" for case in CASES}


def test_every_case_is_in_exactly_one_split():
    splits = make_splits(CASES, STRATA)
    assert list(splits) == list(SPLITS)
    assert sorted(chain(*splits.values())) == CASES


def test_shares_hold_in_every_stratum():
    splits = make_splits(CASES, STRATA, (0.7, 0.1, 0.2))
    counts = {name: Counter(STRATA[case] for case in members) for name, members in splits.items()}
    assert counts == {
        "train": {"HGG": 21, "LGG": 7},  # 70 % of 30 and of 10
        "validation": {"HGG": 3, "LGG": 1},
        "test": {"HGG": 6, "LGG": 2},
    }


def test_the_order_of_cases_does_not_matter_but_the_seed_does():
    shuffled = list(np.random.default_rng(1).permutation(CASES))
    assert make_splits(shuffled, STRATA, seed=3) == make_splits(CASES, STRATA, seed=3)
    assert make_splits(CASES, STRATA, seed=4) != make_splits(CASES, STRATA, seed=3)


def test_small_strata_do_not_starve_a_split():
    strata = {case: case[-1] for case in CASES}  # ten strata of four
    sizes = {name: len(members) for name, members in make_splits(CASES, strata).items()}
    assert abs(sizes["train"] - 28) <= 1
    assert abs(sizes["validation"] - 4) <= 1
    assert abs(sizes["test"] - 8) <= 1


def test_three_patients_give_one_to_each_split():
    assert [len(members) for members in make_splits(["a", "b", "c"]).values()] == [1, 1, 1]


def test_a_share_of_zero_gets_nobody():
    assert make_splits(CASES, fractions=(0.8, 0.2, 0))["test"] == []


def test_scans_of_one_patient_stay_together():
    cases = [f"BraTS-GLI-{i:05d}-{visit}" for i in range(10) for visit in (100, 101)]
    for members in make_splits(cases).values():
        assert all(n == 2 for n in Counter(map(patient_of, members)).values())


def test_folds_test_every_patient_once():
    folds = make_splits(CASES, STRATA, folds=4)
    assert sorted(case for fold in folds for case in fold["test"]) == CASES
    for fold in folds:
        assert sorted(chain(*fold.values())) == CASES
        assert Counter(STRATA[case] for case in fold["test"])["LGG"] in (2, 3)  # 10 over 4
        assert len(fold["validation"]) == pytest.approx(30 / 8, abs=1)  # 0.1 of 0.8 of the other 30


def test_written_splits_are_read_back(tmp_path):
    splits = make_splits(CASES)
    path = write_splits(tmp_path / "d" / "splits.json", splits)
    assert read_splits(path, CASES) == splits
    assert [p.name for p in path.parent.iterdir()] == ["splits.json"]


def test_unused_cases_may_be_listed(tmp_path):
    path = tmp_path / "splits.json"
    path.write_text(json.dumps({"train": ["001"], "test": ["000"], "unused": ["002"]}))
    expected = {"train": ["001"], "validation": [], "test": ["000"]}
    assert read_splits(path, ["000", "001", "002"]) == expected


def test_a_split_with_both_kinds_of_slices_passes():
    check_tags_cover("train", {"a": np.array([1, -1]), "b": np.array([0])})
