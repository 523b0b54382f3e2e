"""An epoch has as many slices as asked, and every slice comes equally often."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest

from bundle.data import EpochSampler


def epochs(sampler: EpochSampler, count: int) -> list[list[int]]:
    found = []
    for epoch in range(count):
        sampler.set_epoch(epoch)
        found.append(list(sampler))
    return found


def make(size: int, epoch_slices: int | None, rank: int = 0, ranks: int = 1, seed: int = 0) -> EpochSampler:
    return EpochSampler(range(size), epoch_slices, num_replicas=ranks, rank=rank, seed=seed)


@pytest.mark.parametrize(("size", "epoch_slices"), [(10, 4), (4, 10), (7, 7)])
def test_an_epoch_has_as_many_slices_as_asked(size, epoch_slices):
    sampler = make(size, epoch_slices)
    assert len(sampler) == epoch_slices
    assert [len(found) for found in epochs(sampler, 3)] == [epoch_slices] * 3


def test_no_slice_comes_again_before_all_were_shown():
    shown = list(chain(*epochs(make(10, 4), 5)))  # 20 slices: two passes
    assert sorted(shown[:10]) == sorted(shown[10:]) == list(range(10))
    assert shown[:10] != shown[10:]


def test_the_order_depends_on_seed_and_epoch_alone():
    late = make(10, 4)
    late.set_epoch(3)
    assert list(late) == epochs(make(10, 4), 4)[3]
    assert epochs(make(10, 4, seed=1), 1) != epochs(make(10, 4), 1)


def test_ranks_share_an_epoch():
    one, two = (epochs(make(12, 8, rank, 2), 3) for rank in (0, 1))
    assert Counter(chain(*one, *two)) == Counter(list(range(12)) * 2)
    assert {len(found) for found in one + two} == {4}


@pytest.mark.parametrize("epoch_slices", [None, 0])  # a command line cannot say null: MONAI ignores it there
def test_without_a_number_each_slice_comes_once(epoch_slices):
    assert sorted(epochs(make(9, epoch_slices), 1)[0]) == list(range(9))


def test_a_negative_number_is_refused():
    with pytest.raises(ValueError, match="epoch_slices: expected a number from 0 up, got -1"):
        make(3, -1)
