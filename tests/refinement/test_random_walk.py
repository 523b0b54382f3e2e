"""The boundary moves to the image's edge, within the band and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bundle.refinement import IntensityVarianceThreshold, RandomWalkd

SHAPE = (32, 32, 12)
SPACING_MM = (1.0, 1.0, 2.0)


def ball(radius_mm: float, centre: tuple[int, int, int] = (16, 16, 6)) -> np.ndarray:
    axes = (
        spacing * (np.arange(size) - c) for spacing, size, c in zip(SPACING_MM, SHAPE, centre, strict=True)
    )
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return x**2 + y**2 + z**2 <= radius_mm**2


def item(cam: np.ndarray, lesion: np.ndarray, **entries) -> dict:
    """A lesion that is brighter in one modality and darker in the other, and the same maps from two branches.

    Both modalities rise from left to right under noise.
    """
    rise = np.linspace(-1, 1, SHAPE[0])[:, None, None]
    image = rise + np.random.default_rng(0).normal(0, 0.1, (2, *SHAPE)) + np.stack([lesion, -1.0 * lesion])
    maps = torch.from_numpy(np.stack([cam, cam]).astype(np.float32))
    return {
        "case": "017",
        "cams": maps,
        "image": torch.from_numpy(image),
        "spacing_mm": SPACING_MM,
        **entries,
    }


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


@pytest.mark.parametrize("radius_mm", [5.0, 10.0], ids=["too small", "too large"])
def test_the_boundary_moves_to_the_images_edge(radius_mm):
    lesion = ball(7.5)
    data = item(0.9 * ball(radius_mm), lesion)
    found = RandomWalkd(band_mm=4.0)(data)["cams"][-1].numpy()
    assert dice(ball(radius_mm), lesion) < 0.75
    assert dice(found > 0.5, lesion) > 0.95
    assert 0 <= found.min() <= found.max() <= 1
    assert ((found > 0) & (found < 1)).any()


def test_farther_than_the_band_nothing_changes():
    mask, other = ball(8), ball(3, (4, 4, 1))
    found = RandomWalkd(band_mm=3.0)(item(0.9 * mask, ball(6) | other))["cams"][-1].numpy()
    assert (found[ball(4.9)] == 1).all()
    assert (found[~ball(11.1)] == 0).all()  # the second lesion, too, which no map saw


def test_other_maps_stay_as_they_are():
    data = item(0.9 * ball(8), ball(6))
    before = data["cams"].clone()
    found = RandomWalkd()(data)["cams"]
    assert torch.equal(found[0], before[0])
    assert torch.equal(data["cams"], before)
    assert found.dtype == torch.float32


def test_a_lesion_thinner_than_the_band_keeps_a_core():
    mask = ball(2.5)
    found = RandomWalkd(band_mm=6.0)(item(0.9 * mask, mask))["cams"][-1].numpy()
    assert dice(found > 0.5, mask) > 0.9


@pytest.mark.parametrize("mask", [np.zeros(SHAPE), np.ones(SHAPE)], ids=["empty", "everything"])
def test_a_map_without_boundary_stays(mask):
    data = item(0.9 * mask, ball(6))
    assert torch.equal(RandomWalkd()(data)["cams"], data["cams"])


def test_nobody_walks_outside_the_foreground():
    lesion, inside = ball(8), np.broadcast_to((np.arange(32) >= 14)[:, None, None], SHAPE)
    data = item(0.9 * ball(6), lesion, foreground=torch.from_numpy(inside.copy())[None])
    found = RandomWalkd(band_mm=4.0)(data)["cams"][-1].numpy()
    assert not found[~inside].any()
    assert dice(found > 0.5, lesion & inside) > 0.95


def test_a_constant_image_cannot_tell():
    data = item(0.9 * ball(8), ball(8))
    data["image"] = torch.ones(2, *SHAPE)
    assert torch.equal(RandomWalkd()(data)["cams"], data["cams"])


def test_edges_count_alike_whatever_the_scale_of_a_modality():
    data = item(0.9 * ball(6), ball(7.5))
    expected = RandomWalkd(band_mm=3.0)(data)["cams"]
    data["image"] = data["image"] * torch.tensor([1.0, 1000.0])[:, None, None, None]
    torch.testing.assert_close(RandomWalkd(band_mm=3.0)(data)["cams"], expected)


@pytest.mark.parametrize("options", [{"band_mm": 0}, {"band_mm": -1}, {"beta": -1}, {"around_mm": 0}])
def test_a_band_without_width_is_refused(options):
    with pytest.raises(
        ValueError, match=r"RandomWalkd: expected (band_mm > 0 and beta >= 0|around_mm > 0), got"
    ):
        RandomWalkd(**options)


def test_it_needs_the_image():
    data = item(0.9 * ball(8), ball(6), image=None)
    with pytest.raises(ValueError, match="case 017: RandomWalkd needs the scan under `image`"):
        RandomWalkd()(data)


def test_the_trusted_modality_decides_where_the_edge_is():
    # two modalities with edges at 7.5 and at 5 mm, the map between them
    outer, inner = ball(8.5), ball(5.0)
    image = np.stack([outer, inner]) + np.random.default_rng(0).normal(0, 0.1, (2, *SHAPE))
    data = {**item(0.9 * ball(6.7), outer), "image": torch.from_numpy(image)}
    walk = RandomWalkd(band_mm=4.0)
    by_first, by_second = (
        walk({**data, "trust": torch.tensor(trust)})["cams"][-1].numpy() > 0.5
        for trust in ([1.0, 0.0], [0.0, 1.0])
    )
    assert dice(by_first, outer) > 0.9 > dice(by_first, inner)
    assert dice(by_second, inner) > 0.9 > dice(by_second, outer)


def test_trust_counts_where_a_modality_is_missing():
    """A channel of 0 has no say; the others keep their own trust."""
    outer, inner = ball(8.5), ball(5.0)
    noise = np.random.default_rng(0).normal(0, 0.1, (2, *SHAPE))
    image = np.stack([np.zeros(SHAPE), *(np.stack([outer, inner]) + noise)])
    data = {**item(0.9 * ball(6.7), outer), "image": torch.from_numpy(image)}
    walk = RandomWalkd(band_mm=4.0)
    by_trust = walk({**data, "trust": torch.tensor([0.0, 1.0, 0.0])})["cams"][-1].numpy() > 0.5
    assert dice(by_trust, outer) > 0.9


def test_trust_of_other_things_than_the_modalities_is_left_aside():
    # early fusion: one branch sees both modalities
    data = item(0.9 * ball(5.0), ball(7.5))
    plain = RandomWalkd(band_mm=4.0)(data)["cams"]
    assert torch.equal(RandomWalkd(band_mm=4.0)({**data, "trust": torch.tensor([0.3])})["cams"], plain)


def test_a_rule_weighs_the_lesion_against_its_surroundings_alone():
    # far away the image varies more than at the lesion's edge, where the map falls off from 1 to 0.4
    lesion = ball(6.0)
    cam = np.select([ball(6.0), ball(9.0)], [0.9, 0.55], 0.0)
    data = item(cam, lesion)
    data["image"][:, :, :, 0:2] = torch.from_numpy(
        5.0 * np.random.default_rng(1).normal(0, 1, (2, 32, 32, 2))
    )
    found = RandomWalkd(band_mm=2.0, threshold=IntensityVarianceThreshold(floor=0.4), around_mm=6.0)(data)
    assert dice(found["cams"][-1].numpy() > 0.5, lesion) > 0.9
    fixed = RandomWalkd(band_mm=2.0)(data)["cams"][-1].numpy() > 0.5
    assert dice(fixed, lesion) < 0.8


def test_a_map_that_nowhere_says_tumour_is_left_to_no_rule():
    cams = RandomWalkd(threshold=IntensityVarianceThreshold(floor=0.4))(item(0.3 * ball(6.0), ball(6.0)))[
        "cams"
    ]
    assert cams.max() < 0.5


def test_a_hint_far_from_the_lesion_is_not_cut_out_with_it():
    # a level of 0.4 suits the lesion; elsewhere 0.45 is a hint, not a lesion
    cam = np.maximum(0.9 * ball(4.0, (10, 16, 6)), 0.45 * ball(4.0, (24, 16, 6)))
    data = item(cam, ball(4.0, (10, 16, 6)))
    found = RandomWalkd(band_mm=2.0, threshold=0.4)(data)["cams"][-1].numpy() > 0.5
    assert found[10, 16, 6]
    assert not found[20:].any()


def test_a_component_that_nowhere_exceeds_the_peak_is_left_out_and_one_that_does_is_kept_whole():
    lesion, island = ball(6.0), np.roll(ball(3.0), 12, axis=0) & ~ball(9.0)
    cam = np.select([ball(2.0), lesion, island], [0.85, 0.7, 0.79], 0.0)
    data = item(cam, lesion | island)
    both = RandomWalkd(band_mm=2.0)(data)["cams"][-1].numpy() > 0.5
    assert dice(both, lesion | island) > 0.9
    found = RandomWalkd(band_mm=2.0, peak=0.8)(data)
    assert dice(found["cams"][-1].numpy() > 0.5, lesion) > 0.9
    assert found["map_steps"][-2:] == (
        "fused map's components below 0.8 left out",
        "fused map cut at 0.5 and walked by the image within 2 mm",
    )


def test_where_no_component_exceeds_the_peak_the_mask_is_empty_and_the_rest_of_the_map_stays():
    data = item(np.select([ball(4.0), ball(8.0)], [0.79, 0.3], 0.1), ball(6.0))
    found = RandomWalkd(peak=0.8)(data)["cams"][-1]
    assert found.max() == 0.5
    assert torch.equal(found, data["cams"][-1].clamp(max=0.5))
    assert (RandomWalkd()(data)["cams"][-1] > 0.5).any()


@pytest.mark.parametrize("peak", [0.49, 1.0, float("nan")])
def test_a_peak_beyond_its_range_is_refused(peak):
    with pytest.raises(ValueError, match=r"expected a peak from 0\.5 to below 1"):
        RandomWalkd(peak=peak)
