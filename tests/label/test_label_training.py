"""Which labelled cases are held out."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.label.training import prepare_labelled, split_of

BOTH, POSITIVE = np.array([0, 1, -1]), np.array([-1, 1, -1])


def test_validation_has_both_kinds_of_slices_if_any_case_has():
    for other in "bcdefg":
        split = split_of({"a": BOTH, other: POSITIVE}, 0.2)
        assert split == {"train": [other], "validation": ["a"], "test": []}


def test_a_new_case_moves_no_other_from_training_into_validation():
    cases = dict.fromkeys("abcde", BOTH)
    held_out = split_of(cases, 0.2)["validation"]
    for name in "fghij":
        split = split_of({**cases, name: BOTH}, 0.2)
        assert set(split["validation"]) <= {*held_out, name}


def test_the_share_says_how_many_and_one_stays_to_learn_from():
    assert len(split_of({str(n): BOTH for n in range(10)}, 0.3)["validation"]) == 3
    assert len(split_of({"a": BOTH, "b": BOTH}, 0.9)["train"]) == 1


@pytest.mark.parametrize("share", [0, 1, -0.5])
def test_a_share_that_holds_out_nothing_or_all_is_refused(share, tmp_path):
    with pytest.raises(ValueError, match="expected a share above 0 and below 1"):
        prepare_labelled([], {}, tmp_path, share, print)
