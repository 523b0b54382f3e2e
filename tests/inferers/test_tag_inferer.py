"""Held-out tags are compared with the logits that training sees."""

from __future__ import annotations

import torch

from bundle.data.normalisation import SliceNormalization
from bundle.inferers import TagInferer
from tests.tiny import tiny_network, tiny_reader, tiny_slices


def test_logits_are_those_of_the_reader():
    image, foreground, _ = tiny_slices(3)
    network, reader = tiny_network(3).eval(), tiny_reader()
    found = TagInferer(reader)(image, network, foreground)
    assert found.shape == (4, 3)
    assert torch.equal(found, reader.logits(network(image), foreground))


def test_slices_are_normalised_first():
    image, foreground, _ = tiny_slices()
    network, normalise = tiny_network().eval(), SliceNormalization()
    found = TagInferer(tiny_reader(), normalise)(image, network, foreground)
    assert torch.equal(found, TagInferer(tiny_reader())(normalise(image), network, foreground))


def test_half_precision_gives_close_logits_in_single_precision():
    image, foreground, _ = tiny_slices()
    network = tiny_network().eval()
    half = TagInferer(tiny_reader(), precision="bfloat16")(image, network, foreground)
    assert half.dtype == torch.float32
    torch.testing.assert_close(
        half, TagInferer(tiny_reader())(image, network, foreground), rtol=0.05, atol=0.05
    )
