"""Whole volumes, slice by slice: batches, gates and memory."""

from __future__ import annotations

import pytest
import torch

from bundle.data.normalisation import SliceNormalization
from bundle.inferers import CamInferer
from tests.tiny import tiny_network, tiny_reader, tiny_slices

SLICES = 7


def volumes(branches: int = 2, count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, K, H, W, S) and foreground (B, 1, H, W, S)."""
    parts = [tiny_slices(branches, SLICES, seed) for seed in range(count)]
    images, foregrounds = zip(
        *[(part[0].permute(1, 2, 3, 0), part[1].permute(1, 2, 3, 0)) for part in parts], strict=True
    )
    return torch.stack(images), torch.stack(foregrounds)


def run(branches: int = 2, count: int = 1, network=None, **options) -> dict[str, torch.Tensor]:
    image, foreground = volumes(branches, count)
    return CamInferer(tiny_reader(), **options)(image, network or tiny_network(branches).eval(), foreground)


@pytest.mark.parametrize("branches", [1, 2, 3, 4])
def test_maps_are_those_of_each_slice(branches):
    found, network, reader = run(branches, gate="none"), tiny_network(branches).eval(), tiny_reader()
    image, foreground, _ = tiny_slices(branches, SLICES)
    assert found["cam"].shape == (1, branches, 16, 16, SLICES)
    assert found["logits"].shape == (1, branches, SLICES)
    with torch.no_grad():
        evidence = network(image)
    torch.testing.assert_close(found["cam"][0], reader.cams(evidence, foreground).permute(1, 2, 3, 0))
    torch.testing.assert_close(found["logits"][0].T, reader.logits(evidence, foreground))


@pytest.mark.parametrize("batch_size", [1, 3, SLICES, 100])
def test_the_batch_size_does_not_change_the_result(batch_size):
    expected, found = run(gate="probability"), run(gate="probability", batch_size=batch_size)
    for key in ("cam", "logits"):
        torch.testing.assert_close(found[key], expected[key], rtol=0, atol=1e-5)


def test_several_volumes_are_run_one_after_another():
    together = run(count=3)
    image, foreground = volumes(count=3)
    for index in range(3):
        part = slice(index, index + 1)
        alone = CamInferer(tiny_reader())(image[part], tiny_network().eval(), foreground[part])
        torch.testing.assert_close(together["cam"][part], alone["cam"])
        torch.testing.assert_close(together["logits"][part], alone["logits"])


def balanced_network():
    """A network that calls about half of the slices healthy."""
    network = tiny_network().eval()
    logits = run(network=network, gate="none")["logits"]
    original = network.forward
    middle = logits.median(dim=-1).values[0][None, :, None, None]
    network.forward = lambda image: original(image) - middle  # poolings pass a constant on unchanged
    return network


@pytest.mark.parametrize(
    ("gate", "factor"),
    [
        ("none", lambda logits: torch.ones_like(logits)),
        ("class", lambda logits: (logits > 0).float()),
        ("probability", torch.sigmoid),
    ],
)
def test_gates_multiply_each_branchs_maps_by_what_it_says_of_the_slice(gate, factor):
    network = balanced_network()
    free, gated = run(network=network, gate="none"), run(network=network, gate=gate)
    assert 0 < (free["logits"] > 0).float().mean() < 1
    torch.testing.assert_close(gated["logits"], free["logits"])
    expected = free["cam"] * factor(free["logits"])[:, :, None, None]
    torch.testing.assert_close(gated["cam"], expected, rtol=0, atol=1e-6)


def test_a_slice_called_healthy_is_empty_by_class():
    found = run(network=balanced_network(), gate="class")
    healthy = found["logits"] <= 0
    assert healthy.any()
    assert not found["cam"].permute(0, 1, 4, 2, 3)[healthy].any()
    assert found["cam"].permute(0, 1, 4, 2, 3)[~healthy].any()


def test_an_unknown_gate_is_refused():
    with pytest.raises(ValueError, match="gate: expected one of class, probability, none, got True"):
        CamInferer(tiny_reader(), gate=True)


def test_slices_lie_one_after_another_in_memory():
    cams = run()["cam"][0]
    assert cams.permute(3, 0, 1, 2).is_contiguous()


def test_slices_are_normalised_before_the_network_and_the_input_stays():
    image, foreground = volumes()
    before = image.clone()
    network = tiny_network().eval()
    found = CamInferer(tiny_reader(), SliceNormalization())(image, network, foreground)
    assert torch.equal(image, before)
    slices = SliceNormalization()(image[0].permute(3, 0, 1, 2))
    expected = CamInferer(tiny_reader())(slices.permute(1, 2, 3, 0)[None], network, foreground)
    torch.testing.assert_close(found["cam"], expected["cam"])


def test_the_networks_mode_is_left_as_it_was():
    for training in (True, False):
        network = tiny_network().train(training)
        run(network=network)
        assert network.training == training


def test_a_blank_slice_has_an_empty_map():
    image, foreground = volumes()
    foreground[..., 2] = 0
    found = CamInferer(tiny_reader(), gate="none")(image, tiny_network().eval(), foreground)
    assert not found["cam"][..., 2].any()
    assert not found["logits"][..., 2].any()
    assert found["cam"].isfinite().all()
