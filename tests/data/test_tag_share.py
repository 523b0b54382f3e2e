"""A share of the tags: drawn by a seed, nested, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.data import SliceDataset, datalist
from bundle.data.tag_share import random_share, share_of_tags

TAGS = [np.array([1, 0, -1, 0], dtype=np.int8), np.array([0, 1, 1, 1], dtype=np.int8)]
BLANK = [np.array([False] * 4), np.array([True, False, False, False])]


def test_untagged_and_blank_slices_do_not_count():
    # six tags of slices that are not blank: half of them are three, and the blank slice keeps its own
    kept = np.concatenate(share_of_tags(TAGS, BLANK, 0.5, seed=0))
    assert (kept >= 0).sum() == 3 + 1
    assert kept[4] == 0
    assert all(new in (-1, old) for new, old in zip(kept, np.concatenate(TAGS), strict=True))


def test_the_whole_share_changes_nothing():
    kept = share_of_tags(TAGS, BLANK, 1.0, seed=0)
    for new, old in zip(kept, TAGS, strict=True):
        assert np.array_equal(new, old)
        assert new.dtype == np.int8


def test_a_smaller_share_is_part_of_a_larger_one_and_the_seed_decides():
    counted = np.ones(40, dtype=bool)
    small, large = (random_share(counted, share, seed=3) for share in (0.25, 0.5))
    assert (small.sum(), large.sum()) == (10, 20)
    assert not (small & ~large).any()
    assert not np.array_equal(small, random_share(counted, 0.25, seed=4))


@pytest.mark.parametrize("share", [0, -0.5, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="tag_share: expected a share above 0, up to 1, got"):
        random_share(np.ones(3, dtype=bool), share, seed=0)


def test_a_data_set_trains_on_that_share_alone(prepared):
    entries = datalist(prepared, "train")
    whole = SliceDataset(entries, ["flair"])
    part = SliceDataset(entries, ["flair"], tag_share=0.5, tag_seed=0)
    assert (len(whole), len(part)) == (10, 5)
    places = {(item["case"], item["slice"]): float(item["label"]) for item in (whole[i] for i in range(10))}
    for index in range(5):
        item = part[index]
        assert places[item["case"], item["slice"]] == item["label"]
