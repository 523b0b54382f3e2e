"""Thresholds by hand, and what rules make of maps in which there is nothing to divide."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.refinement import (
    EMPTY,
    FixedThreshold,
    IntensityVarianceThreshold,
    MixtureThreshold,
    OtsuThreshold,
    make_rule,
)

RULES = [OtsuThreshold(), MixtureThreshold(), IntensityVarianceThreshold()]
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
SHAPE = (10, 10, 10)


def two_groups(seed: int = 0) -> np.ndarray:
    """A map of 900 values about 0.2 and, in its last slice, 100 about 0.8."""
    cam = np.random.default_rng(seed).normal(0.2, 0.03, SHAPE)
    cam[..., -1] += 0.6
    return cam.clip(0, 1).astype(np.float32)


def scan(edge: int = 9) -> np.ndarray:
    """Two modalities; from slice ``edge`` on the first is brighter and the second darker."""
    image = np.random.default_rng(1).normal(0, 0.1, (2, *SHAPE))
    image[0, ..., edge:] += 3
    image[1, ..., edge:] -= 50
    return image


@each_rule
def test_two_groups_are_told_apart(rule):
    cam = two_groups()
    assert np.array_equal(cam > rule(cam, scan()), np.broadcast_to(np.arange(10) == 9, SHAPE))


@each_rule
def test_a_map_that_nowhere_says_tumour_gets_no_mask(rule):
    cam = two_groups() / 2  # highest value about 0.45
    assert rule(cam, scan()) == EMPTY


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@each_rule
def test_a_constant_map_gets_no_mask(rule, value):
    assert rule(np.full(SHAPE, value, dtype=np.float32), scan()) == EMPTY


@each_rule
def test_nothing_inside_the_foreground_gives_no_mask(rule):
    assert rule(two_groups(), scan(), np.zeros(SHAPE, dtype=bool)) == EMPTY


@each_rule
def test_a_map_of_two_values_is_its_own_mask(rule):
    cam = np.zeros(SHAPE, dtype=np.float32)
    cam[..., -1] = 0.9
    assert np.array_equal(cam > rule(cam, scan()), cam == np.float32(0.9))


@each_rule
def test_what_lies_outside_the_foreground_does_not_matter(rule):
    cam, image = two_groups(), scan()
    inside = np.ones(SHAPE, dtype=bool)
    inside[:3] = False
    expected = rule(cam, image, inside)
    cam[:3], image[:, :3] = 0.99, 77.0
    assert rule(cam, image, inside) == expected


@each_rule
def test_the_same_map_always_gets_the_same_threshold(rule):
    cam, image = two_groups(), scan()
    found = {rule(cam, image) for _ in range(3)}
    assert len(found) == 1
    shuffled = np.random.default_rng(2).permutation(10)
    assert rule(cam[shuffled], image[:, shuffled]) == pytest.approx(found.pop(), abs=1e-6)


def test_the_mixtures_boundary_by_hand():
    # Equal shares and spreads about 0.2 and 0.8: both Gaussians are equally likely half-way.
    values = np.concatenate([np.random.default_rng(0).normal(mean, 0.05, 5000) for mean in (0.2, 0.8)])
    assert MixtureThreshold(floor=0.0)(values) == pytest.approx(0.5, abs=0.01)


def test_the_images_edge_decides_not_the_maps():
    # The map rises evenly; the image changes between slices 6 and 7, the map there from 0.65 to 0.75.
    cam = np.broadcast_to((np.arange(10) + 0.5) / 10, SHAPE).astype(np.float32)
    assert 0.65 <= IntensityVarianceThreshold()(cam, scan(edge=7)) < 0.75


def test_modalities_count_alike_whatever_their_scale():
    # The first modality alone changes at 5, the second, fifty times as strong, at 7; scaling it changes nothing.
    cam = np.broadcast_to((np.arange(10) + 0.5) / 10, SHAPE).astype(np.float32)
    image = scan(7)
    image[0] = scan(5)[0]
    found = IntensityVarianceThreshold()(cam, image)
    assert IntensityVarianceThreshold()(cam, image * np.array([1, 0.01])[:, None, None, None]) == found


def test_an_image_that_shows_nothing_cannot_tell():
    assert IntensityVarianceThreshold()(two_groups(), np.full((2, *SHAPE), 7.0)) == EMPTY


def test_the_variance_rule_needs_the_image():
    with pytest.raises(ValueError, match="threshold variance: expected the scan beside the map, found none"):
        IntensityVarianceThreshold()(two_groups())


@pytest.mark.parametrize(
    ("given", "kind"), [(0.3, FixedThreshold), (0, FixedThreshold), ("otsu", OtsuThreshold)]
)
def test_a_config_gives_a_number_or_a_name(given, kind):
    assert type(make_rule(given)) is kind


def test_a_rule_stands_for_itself():
    assert make_rule(RULES[0]) is RULES[0]


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match=r"threshold: expected a number .*, got 'otzu'; did you mean otsu\?"):
        make_rule("otzu")


@pytest.mark.parametrize("value", [-0.1, 1.0, 50])
def test_a_threshold_outside_the_maps_range_is_refused(value):
    with pytest.raises(ValueError, match=r"threshold: expected a number in \[0, 1\)"):
        make_rule(value)


@pytest.mark.parametrize(("floor", "peak"), [(-0.1, 0.5), (0.6, 0.5), (0.1, 1.0)])
def test_floor_and_peak_out_of_order_are_refused(floor, peak):
    with pytest.raises(ValueError, match="threshold otsu: expected 0 <= floor <= peak < 1"):
        OtsuThreshold(floor, peak)
