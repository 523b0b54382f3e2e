"""Volumes as bags: each slice has its volume's tag alone, and batches hold whole bags."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bundle.data import BagSampler, PreparedCase, SliceDataset, VolumeTagDataset, datalist

MODALITIES = ["flair", "t1c"]


def retag(dataset_dir: Path, case: str, **changes) -> None:
    file = dataset_dir / "cases" / case / "case.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.fixture
def mixed(prepared) -> Path:
    """Case 001 positive as a whole, its slices untagged; 002 healthy."""
    retag(prepared, "001", tags=[-1] * 6, volume_tag=1)
    retag(prepared, "002", tags=[0] * 6)
    return prepared


def make_dataset(folder: Path, **options) -> VolumeTagDataset:
    return VolumeTagDataset(datalist(folder, "train"), MODALITIES, **options)


def make_sampler(dataset: SliceDataset, count: int = 2, **options) -> BagSampler:
    return BagSampler(dataset, count, **{"batch_size": 2 * count, "seed": 0, **options})


def test_every_slice_has_the_tag_of_its_volume(mixed):
    dataset = make_dataset(mixed)
    assert dataset.tags.tolist() == [1] * 5 + [0] * 5  # slice 0 of each is blank
    assert dataset[0]["label"] == 1


def test_tags_of_slices_are_used_for_their_volumes_alone(prepared):
    assert PreparedCase.open(prepared / "cases" / "001").volume_tag == 1
    retag(prepared, "002", tags=[0] * 6)
    assert make_dataset(prepared).tags.tolist() == [1] * 5 + [0] * 5


def test_a_volume_whose_slices_leave_its_tag_open_is_left_out(mixed):
    retag(mixed, "003", tags=[0, 0, -1, 0, 0, 0])
    entries = datalist(mixed, "all")[:3]
    assert set(VolumeTagDataset(entries, MODALITIES).case_index) == {0, 1}


def test_nothing_else_takes_a_positive_volume_for_positive_slices(mixed):
    remedies = r"configs/method_volume_tags\.yaml alone, .* by configs/method_selftrain_volume_tags\.yaml"
    with pytest.raises(ValueError, match=f"no positive slice .* {remedies}"):
        SliceDataset(datalist(mixed, "train"), MODALITIES)


def test_a_bag_spreads_over_one_volume(mixed):
    dataset = make_dataset(mixed)
    for epoch in range(10):
        sampler = make_sampler(dataset)
        sampler.set_epoch(epoch)
        bags = np.array(list(sampler)).reshape(-1, 2)
        assert (dataset.case_index[bags[:, 0]] == dataset.case_index[bags[:, 1]]).all()
        # slices 1 to 5: the first half of the volume ends within slice 3
        assert set(dataset.slice_index[bags[:, 0]]) <= {1, 2, 3}
        assert set(dataset.slice_index[bags[:, 1]]) <= {3, 4, 5}


def test_positive_and_negative_volumes_come_equally_often(prepared):
    retag(prepared, "002", tags=[0] * 6)
    dataset = VolumeTagDataset(datalist(prepared, "all"), MODALITIES)  # three positive, one negative
    drawn = list(make_sampler(dataset))
    assert dataset.tags[drawn].mean() == 0.5
    assert len(drawn) == pytest.approx(len(dataset), abs=4)


def test_a_volume_of_few_slices_repeats_some(mixed):
    dataset = make_dataset(mixed)
    sampler = make_sampler(dataset, 8)
    bags = np.array(list(sampler)).reshape(-1, 8)
    assert len(sampler) == bags.size
    assert all(len(set(dataset.case_index[bag])) == 1 for bag in bags)
    assert all(4 <= len(set(bag)) <= 5 for bag in bags.tolist())


def test_bags_differ_from_epoch_to_epoch_and_depend_on_seed_and_epoch_alone(mixed):
    dataset = make_dataset(mixed)

    def draw(epoch: int, **options) -> list[int]:
        sampler = make_sampler(dataset, **options)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert draw(3) == draw(3)
    assert len({tuple(draw(epoch)) for epoch in range(4)}) == 4
    assert draw(3) != draw(3, seed=1)


def test_processes_share_the_bags_out(mixed):
    dataset = make_dataset(mixed)
    whole = np.array(list(make_sampler(dataset))).reshape(-1, 2).tolist()
    parts = [
        np.array(list(make_sampler(dataset, num_replicas=2, rank=rank))).reshape(-1, 2).tolist()
        for rank in (0, 1)
    ]
    assert sorted(parts[0] + parts[1]) == sorted(whole)
    assert len(parts[0]) == len(parts[1]) == len(whole) // 2


def test_a_batch_that_would_cut_a_bag_is_refused(mixed):
    with pytest.raises(ValueError, match="batch_size is 6, expected a multiple of slices_per_bag, 4"):
        make_sampler(make_dataset(mixed), 4, batch_size=6)


def test_a_share_of_the_tags_counts_volumes(prepared):
    for case in ("002", "004"):
        retag(prepared, case, tags=[0] * 6)
    entries = datalist(prepared, "all")
    used = VolumeTagDataset(entries, MODALITIES, tag_share=0.5, tag_seed=1, tagged_only=False).tags
    assert (used.reshape(4, 6) == -1).all(axis=1).sum() == 2
