"""Thresholds from a histogram, from tags and from masks, on numbers one can count."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.comparison.intensity_rules import (
    AREAS_FRAC,
    THRESHOLDS,
    IntensityRule,
    choose_by_masks,
    count_beyond,
    learn_from_tags,
    otsu_rules,
    shares_beyond,
)

INSIDE = np.ones((10, 10), dtype=bool)


def make_slice(lesion_pixels: int, lesion: float = 2.02, fluid_pixels: int = 10) -> np.ndarray:
    """One modality of 10 x 10 pixels: tissue at 0.02, fluid at 4.02, a lesion between; off the grid of 0.05."""
    values = np.full(100, 0.02)
    values[:fluid_pixels] = 4.02
    values[50 : 50 + lesion_pixels] = lesion
    return values.reshape(1, 10, 10)


def test_every_value_counts_once_on_either_side():
    counts = count_beyond(np.linspace(-9, 9, 50))
    assert (counts.sum(axis=0) == 50).all()
    assert counts[0, 0] > counts[0, -1]


def test_a_bright_lesion_is_found_by_tags_with_the_area_that_tells_slices_apart():
    # 10 of 100 pixels are fluid everywhere; positive slices hold 8 or 12 more of lesion, so 18 or 22 of 100
    lesions = [0, 0, 0, 8, 12]
    shares = np.stack([shares_beyond(make_slice(count), INSIDE) for count in lesions])
    (rule,) = learn_from_tags(shares, np.array([0, 0, 0, 1, 1]))
    assert 0.02 < rule.threshold <= 2.02
    assert (rule.direction, rule.quality) == (1, 1.0)
    # 0.2 would lose the 18, 0.1 calls fluid alone positive: as 0.05 does, and 0.2 misses one of two, the best left
    assert rule.min_area_frac == pytest.approx(0.2)


def test_a_dark_lesion_is_found_as_dark():
    shares = np.stack([shares_beyond(make_slice(count, lesion=-2.02), INSIDE) for count in (0, 0, 8, 12)])
    (rule,) = learn_from_tags(shares, np.array([0, 0, 1, 1]))
    assert rule.direction == -1
    assert -2.02 < rule.threshold <= 0.02
    assert rule.min_area_frac in AREAS_FRAC
    kept = rule.keeps(np.stack([make_slice(0)[0], make_slice(8, lesion=-2.02)[0]]), np.stack([INSIDE] * 2))
    assert kept.tolist() == [False, True]


def test_a_rule_selects_within_the_foreground_alone():
    inside = INSIDE.copy()
    inside[5:] = False  # where the lesion lies
    image = make_slice(8)[0]
    assert IntensityRule(1.0, 1, 0.0, 1.0).select(image, INSIDE).sum() == 18
    assert IntensityRule(1.0, 1, 0.0, 1.0).select(image, inside).sum() == 10
    assert IntensityRule(1.0, -1, 0.0, 1.0).select(image, inside).sum() == 40


def as_volume(lesions: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    slices = [make_slice(count) for count in lesions]
    shares = np.stack([shares_beyond(image, INSIDE) for image in slices])
    truth = np.zeros((10, 10, len(lesions)), dtype=bool)
    for index, count in enumerate(lesions):
        truth.reshape(100, -1)[50 : 50 + count, index] = True
    return shares, np.stack(slices, axis=-1), np.ones(truth.shape, dtype=bool), truth


def test_the_oracle_has_the_best_dice_of_all_rules():
    # 12 pixels of lesion in one slice of two, 10 of fluid in both. Bright with an area above 0.1 keeps one slice:
    # 2 * 12 / (22 + 12) = 0.706. Without the area 2 * 12 / (32 + 12) = 0.545.
    (rule,) = choose_by_masks([as_volume([0, 12])], 1)
    assert rule.quality == pytest.approx(24 / 34)
    assert (rule.direction, rule.min_area_frac) == (1, pytest.approx(0.2))
    assert 0.02 < rule.threshold <= 2.02


def test_the_oracle_never_does_worse_than_what_tags_teach():
    cases = [as_volume([0, 0, 12, 25, 3]), as_volume([0, 30, 4, 0, 1])]
    shares, tags = np.concatenate([c[0] for c in cases]), np.array([0, 0, 1, 1, 1, 0, 1, 1, 0, 1])
    (learnt,), (oracle,) = learn_from_tags(shares, tags), choose_by_masks(cases, 1)
    dice = []
    for _, image, inside, truth in cases:
        kept = learnt.keeps(image[0].transpose(2, 0, 1), inside.transpose(2, 0, 1))
        mask = learnt.select(image[0], inside) & kept
        dice.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert oracle.quality >= np.mean(dice)


def test_an_oracle_without_a_lesion_to_look_at_is_an_error():
    with pytest.raises(ValueError, match="rule oracle: no case with a mask that shows a lesion"):
        choose_by_masks([], 1)


def test_otsu_sees_positive_slices_alone():
    # the positive slice holds 0.02 and 2.02; the other one would put the threshold between 2.02 and 90
    image = np.stack([make_slice(40, fluid_pixels=0), np.full((1, 10, 10), 90.0)], axis=-1)
    inside = np.ones((10, 10, 2), dtype=bool)
    (rule,) = otsu_rules(image, inside, np.array([True, False]))
    assert 0.02 <= rule.threshold < 2.02
    assert otsu_rules(image, inside, np.array([False, False])) is None


def test_thresholds_cover_what_clipping_leaves():
    assert (THRESHOLDS[0], THRESHOLDS[-1]) == (pytest.approx(-4), pytest.approx(6))
