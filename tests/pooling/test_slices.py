"""A volume's logit is that of the slices that show most."""

from __future__ import annotations

import pytest
import torch

from bundle.pooling import SlicePooling

LOGITS = torch.tensor([[1.0, -1.0], [4.0, 0.0], [2.0, -3.0], [-2.0, -2.0]])


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, [4.0, 0.0]),  # the maximum
        (0.25, [4.0, 0.0]),  # one of four
        (0.3, [3.0, -0.5]),  # rounded up to two: (4 + 2) / 2, (0 - 1) / 2
        (1.0, [1.25, -1.5]),  # the mean
    ],
)
def test_the_highest_share_counts_branch_by_branch(share, expected):
    assert SlicePooling(share)(LOGITS).tolist() == pytest.approx(expected)


def test_bags_are_pooled_apart():
    pooled = SlicePooling(0.25)(torch.stack([LOGITS, -LOGITS]))
    assert pooled.tolist() == [[4.0, 0.0], [2.0, 3.0]]


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_beyond_all_slices_is_refused(share):
    with pytest.raises(ValueError, match="slice_pooling share: expected a share from 0 to 1"):
        SlicePooling(share)
