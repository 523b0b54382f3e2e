"""Slabs show neighbouring slices, and each tag once."""

from __future__ import annotations

import pytest
import torch

from bundle.data import SlabDataset, SliceDataset, datalist
from tests.conftest import MODALITIES


def slabs(prepared, depth: int, **options) -> SlabDataset:
    return SlabDataset(datalist(prepared, "train"), MODALITIES, depth=depth, **options)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6, 9])
def test_every_tag_is_in_one_slab_beside_its_slice(depth, prepared):
    tagged = {
        (item["case"], item["slice"]): item for item in SliceDataset(datalist(prepared, "train"), MODALITIES)
    }
    found = []
    for item in slabs(prepared, depth):
        assert item["image"].shape == (2, 16, 16, depth)
        assert item["foreground"].shape == (1, 16, 16, depth)
        assert item["label"].shape == (depth,)
        before = (depth - 6) // 2 if depth > 6 else 0  # padding
        for position in (item["label"] >= 0).nonzero().flatten().tolist():
            key = (item["case"], item["slice"] + position - before)
            assert item["label"][position] == tagged[key]["label"]
            assert torch.equal(item["image"][..., position], tagged[key]["image"])
            found.append(key)
    assert sorted(found) == sorted(tagged)


def test_slabs_of_one_size_make_a_batch(prepared):
    items = slabs(prepared, 4).__getitems__([0, 1, 2, 3])
    assert torch.stack([item["image"] for item in items]).shape == (4, 2, 16, 16, 4)


def test_slabs_without_a_tag_are_left_out(prepared, tmp_path):
    (tmp_path / "tags.json").write_text('{"tags": [-1, -1, 1, 0, -1, -1]}')
    entries = [{**entry, "label": str(tmp_path / "tags.json")} for entry in datalist(prepared, "train")]
    dataset = SlabDataset(entries, MODALITIES, depth=2)
    assert [(item["case"], item["slice"], item["label"].tolist()) for item in dataset] == [
        *(("001", 2, [1, 0]), ("002", 2, [1, 0]))
    ]


def test_a_slab_has_a_slice(prepared):
    with pytest.raises(ValueError, match="SlabDataset depth: expected at least 1 slice, got 0"):
        slabs(prepared, 0)
