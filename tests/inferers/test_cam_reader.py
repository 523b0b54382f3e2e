"""Evidence becomes maps in [0, 1], scaled by what lies inside the foreground."""

from __future__ import annotations

import pytest
import torch

from bundle.inferers import CamReader
from bundle.networks import Readout
from bundle.pooling import AveragePooling
from tests.tiny import tiny_reader

EVERYWHERE = torch.ones(2, 1, 8, 8, dtype=torch.float64)


def random_maps(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 5 * torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)


def square() -> torch.Tensor:
    foreground = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    foreground[..., 2:6, 1:7] = 1
    return foreground


def test_value_by_hand():
    # relu: 0, 2, 4, 10; minimum 0, maximum 10. Without the last pixel: 0, 2, 4 of at most 4.
    maps = torch.tensor([[-3.0, 2.0], [4.0, 10.0]])[None, None]
    inside = torch.tensor([[1.0, 1.0], [1.0, 0.0]])[None, None]
    whole = tiny_reader(foreground_only=False).normalise(maps, inside)
    torch.testing.assert_close(whole.flatten(), torch.tensor([0.0, 0.2, 0.4, 1.0]))
    torch.testing.assert_close(
        tiny_reader().normalise(maps, inside).flatten(), torch.tensor([0.0, 0.5, 1.0, 0.0])
    )


def test_the_smallest_positive_value_becomes_0():
    maps = torch.tensor([[6.0, 7.0], [8.0, 10.0]])[None, None]  # 6 to 10 becomes 0 to 1
    found = tiny_reader().normalise(maps, torch.ones(1, 1, 2, 2)).flatten()
    torch.testing.assert_close(found, torch.tensor([0.0, 0.25, 0.5, 1.0]))


@pytest.mark.parametrize("foreground_only", [True, False])
def test_every_map_reaches_from_0_to_1(foreground_only):
    cams = tiny_reader(foreground_only=foreground_only).normalise(random_maps(), square())
    assert cams.amin() == 0
    assert cams.amax() <= 1
    torch.testing.assert_close(cams.amax((2, 3)), torch.ones(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("foreground_only", [True, False])
@pytest.mark.parametrize("value", [-2.0, 0.0, 0.1, 1e4])
def test_a_constant_map_gives_0(value, foreground_only):
    maps = torch.full((2, 3, 8, 8), value)
    assert not tiny_reader(foreground_only=foreground_only).normalise(maps, square().float()).any()


@pytest.mark.parametrize("foreground_only", [True, False])
def test_a_wholly_negative_map_gives_0(foreground_only):
    maps = -random_maps().abs() - 0.1
    assert not tiny_reader(foreground_only=foreground_only).normalise(maps, square()).any()


def test_outside_the_foreground_maps_are_0_and_evidence_does_not_matter():
    maps, inside = random_maps(), square()
    cams = tiny_reader().normalise(maps, inside)
    assert not (cams * (1 - inside)).any()
    assert torch.equal(tiny_reader().normalise(torch.where(inside > 0, maps, 1e3), inside), cams)


def test_over_the_whole_slice_the_foreground_does_not_matter():
    reader = tiny_reader(foreground_only=False)
    assert torch.equal(reader.normalise(random_maps(), square()), reader.normalise(random_maps(), EVERYWHERE))


@pytest.mark.parametrize("factor", [1e-2, 1e3])
def test_the_scale_of_the_evidence_does_not_matter(factor):
    cams = tiny_reader().normalise(random_maps(), square())
    scaled = tiny_reader().normalise(factor * random_maps(), square())
    torch.testing.assert_close(scaled, cams, rtol=0, atol=1e-5)


@pytest.mark.parametrize("foreground_only", [True, False])
@pytest.mark.parametrize("kind", ["random", "constant", "negative", "blank"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite(kind, foreground_only, dtype):
    maps, inside = random_maps().to(dtype), square().to(dtype)
    if kind == "constant":
        maps = torch.full_like(maps, 0.3)
    if kind == "negative":
        maps = -maps.abs() - 0.1
    if kind == "blank":
        inside = torch.zeros_like(inside)
    maps.requires_grad_()
    cams = tiny_reader(foreground_only=foreground_only).normalise(maps, inside)
    assert cams.isfinite().all()
    (cams * torch.rand_like(cams)).sum().backward()
    assert maps.grad.isfinite().all()
    assert bool(maps.grad.any()) == (kind == "random" or (kind == "blank" and not foreground_only))


def test_gradients_go_through_maximum_and_minimum():
    maps = (random_maps()[:1, :1, :4, :4].abs() + 1).requires_grad_()
    inside = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: tiny_reader().normalise(x, inside).square(), [maps])
    (gradient,) = torch.autograd.grad(tiny_reader().normalise(maps, inside).sum(), maps)
    assert gradient.flatten()[maps.argmax()] < 0  # a higher maximum lowers all the others


def test_scores_are_pooled_from_the_map_and_logits_from_the_difference():
    # Channels healthy 1 and 3, tumour 6 and 10: means 2 and 8.
    evidence = torch.tensor([[1.0, 3.0], [6.0, 10.0]])[None, :, None]
    inside = torch.ones(1, 1, 1, 2)
    for tumour_channel_only, score in ((False, 6.0), (True, 8.0)):
        reader = CamReader(Readout(2, tumour_channel_only), AveragePooling())
        assert reader.scores(evidence, inside).tolist() == [[score]]
        assert reader.logits(evidence, inside).tolist() == [[6.0]]


def test_two_head_channels_are_read_as_their_difference():
    evidence, inside = random_maps().repeat(1, 2, 1, 1), square()
    one = tiny_reader(AveragePooling()).cams(evidence[:, 1::2] - evidence[:, 0::2], inside)
    reader = tiny_reader(AveragePooling(), head_channels=2)
    assert torch.equal(reader.cams(evidence, inside), one)
    difference = evidence[:, 1::2] - evidence[:, 0::2]
    expected = (difference * inside).sum((2, 3)) / inside.sum((2, 3))
    torch.testing.assert_close(reader.logits(evidence, inside), expected)


def test_on_the_probability_scale_a_map_is_the_sigmoid_of_the_evidence_inside():
    # ln 3 is 3/4; the third pixel is no foreground, the fourth not in view
    maps = torch.tensor([[1.0986123, 0.0], [5.0, 5.0]])[None, None]
    inside = torch.tensor([[1.0, 1.0], [0.0, 1.0]])[None, None]
    in_view = torch.tensor([[1.0, 1.0], [1.0, 0.0]])[None, None]
    found = tiny_reader(scale="probability").cams(maps, inside, in_view).flatten()
    torch.testing.assert_close(found, torch.tensor([0.75, 0.5, 0.0, 0.0]))


def test_on_the_probability_scale_a_slice_may_show_nothing_and_others_do_not_matter():
    reader, maps = tiny_reader(scale="probability"), random_maps()
    alone = reader.cams(maps[:1], square()[:1])
    assert torch.equal(reader.cams(maps, square())[:1], alone)
    assert reader.cams(-maps.abs() - 1, square()).max() < 0.5


def test_the_scale_changes_maps_and_no_logits():
    evidence, inside = random_maps(), square()
    plain, probability = tiny_reader(), tiny_reader(scale="probability")
    assert torch.equal(probability.logits(evidence, inside), plain.logits(evidence, inside))
    assert not torch.equal(probability.cams(evidence, inside), plain.cams(evidence, inside))


def test_an_unknown_scale_names_the_nearest():
    with pytest.raises(
        ValueError, match="cam_reader scale: 'probabilty' is unknown; did you mean probability"
    ):
        tiny_reader(scale="probabilty")
