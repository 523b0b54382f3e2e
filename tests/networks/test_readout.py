"""One part knows what the head channels mean."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from bundle.networks import Readout


def test_one_channel_is_map_and_logit_already():
    evidence, pooled = torch.randn(2, 3, 4, 4), torch.randn(2, 3)
    assert torch.equal(Readout(1).maps(evidence), evidence)
    assert torch.equal(Readout(1).logits(pooled), pooled)


def test_of_two_channels_the_difference_tumour_minus_healthy_is_read():
    evidence = torch.tensor([1.0, 4.0, 10.0, 30.0]).reshape(1, 4, 1, 1)  # healthy, tumour of two branches
    assert Readout(2).maps(evidence).flatten().tolist() == [3.0, 20.0]
    assert Readout(2).logits(evidence[..., 0, 0]).flatten().tolist() == [3.0, 20.0]


def test_the_paper_reads_the_tumour_channel_as_map_and_the_difference_as_logit():
    evidence = torch.tensor([1.0, 4.0, 10.0, 30.0]).reshape(1, 4, 1, 1)
    readout = Readout(2, tumour_channel_only=True)
    assert readout.maps(evidence).flatten().tolist() == [4.0, 30.0]
    assert readout.logits(evidence[..., 0, 0]).flatten().tolist() == [3.0, 20.0]


def test_softmax_cross_entropy_is_the_binary_one_of_the_difference():
    pooled, tags = torch.randn(8, 2, dtype=torch.float64), torch.arange(8) % 2
    binary = F.binary_cross_entropy_with_logits(Readout(2).logits(pooled)[:, 0], tags.double())
    torch.testing.assert_close(binary, F.cross_entropy(pooled, tags))


def test_three_head_channels_are_refused():
    with pytest.raises(ValueError, match=r"1 \(logit\) or 2 \(softmax\), got 3"):
        Readout(3)


def test_an_odd_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="two channels a branch, got 3; check head_channels"):
        Readout(2).maps(torch.randn(1, 3, 4, 4))
    with pytest.raises(ValueError, match="two channels a branch, got 1"):
        Readout(2).logits(torch.randn(1, 1))
