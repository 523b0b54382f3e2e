"""Foreground is what differs from a constant background, without holes."""

from __future__ import annotations

import numpy as np

from bundle.data.foreground import background_value, find_foreground


def ring(background: float) -> np.ndarray:
    """A ring of noise, 6 x 6 and two voxels thick, round a hole of background, amid 12 x 12."""
    volume = np.full((1, 12, 12, 2), background, dtype=np.float32)
    volume[0, 3:9, 3:9, 1] = np.random.default_rng(0).random((6, 6)) + 1
    volume[0, 5:7, 5:7, 1] = background
    return volume


def test_the_constant_may_be_anything():
    for background in (0.0, -3.55, 1024.0):
        volume = ring(background)
        assert background_value(volume[0]) == np.float32(background)
        assert find_foreground(volume).sum() == 36  # the ring and its hole, in slice 1 only


def test_holes_are_filled_slice_by_slice_and_only_if_enclosed():
    volume = ring(0)
    volume[0, 5, 3:5, 1] = 0  # a channel from the hole to the outside
    assert find_foreground(volume).sum() == 36 - 4 - 2
    assert not find_foreground(volume)[..., 0].any()


def test_one_modality_suffices():
    left, right = np.zeros((2, 1, 10, 10, 1), dtype=np.int16)
    left[0, 2, 2], right[0, 7, 7] = 9, 9
    found = find_foreground(np.concatenate([left, right]))
    assert found.sum() == 2


def test_without_a_constant_background_everything_is_foreground():
    volume = np.random.default_rng(0).random((1, 10, 10, 3)).astype(np.float32)
    volume[0, :, :, 0].flat[:25] = 0  # 25 of 300 voxels: less than a tenth
    assert background_value(volume[0]) is None
    assert find_foreground(volume).all()
    volume[0, :, :, 0].flat[:35] = 0
    assert background_value(volume[0]) == 0


def test_the_background_is_found_in_large_volumes_by_a_sample():
    volume = np.random.default_rng(0).random((100, 100, 60))
    volume[:15] = -1  # 15 % of the voxels
    assert background_value(volume) == -1
