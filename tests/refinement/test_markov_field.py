"""Voxels take the side that map, intensities and neighbours say together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.special import expit

from bundle.refinement import MarkovFieldd
from tests.refinement.test_random_walk import SHAPE, SPACING_MM, ball, dice, item


def soft(mask: np.ndarray, width_mm: float = 2.0) -> np.ndarray:
    """A map whose log odds fall off with the distance to the mask's border, as a network's do."""
    sides = [ndimage.distance_transform_edt(side, sampling=SPACING_MM) for side in (mask, ~mask)]
    return expit((sides[0] - sides[1]) / width_mm)


@pytest.mark.parametrize("radius_mm", [5.0, 10.0], ids=["too small", "too large"])
def test_the_boundary_moves_to_where_intensities_change(radius_mm):
    lesion = ball(7.5)
    found = MarkovFieldd()(item(soft(ball(radius_mm)), lesion))["cams"][-1].numpy()
    assert dice(ball(radius_mm), lesion) < 0.75
    assert dice(found > 0.5, lesion) > 0.95
    assert 0 <= found.min() <= found.max() <= 1


def test_parts_that_a_soft_map_missed_by_far_are_found_and_alike_tissue_apart_is_not():
    """What a band around the map's border cannot reach: half of a long lesion. A vessel as bright stays out."""
    lesion = ball(6.0, (8, 14, 6)) | ball(6.0, (16, 14, 6))
    apart = ball(5.0, (26, 26, 6))
    cam = np.where(apart, 0.3, soft(ball(6.0, (8, 14, 6)), 4.0))
    found = MarkovFieldd(around_mm=30.0)(item(cam, lesion | apart))["cams"][-1].numpy()
    assert dice(found > 0.5, lesion) > 0.9
    assert not (found > 0.5)[apart].any()
    assert found[apart].max() == 0.5  # looks like the lesion, and holds nothing of it


def test_a_second_tissue_around_does_not_blur_what_the_first_looks_like():
    """Dark fluid beside tissue darker than the lesion: one Gaussian of both loses the lesion or takes all for it."""
    lesion = ball(7.0)
    fluid = np.broadcast_to((np.arange(SHAPE[0]) < 6)[:, None, None], SHAPE)
    noise = np.random.default_rng(0).normal(0, 0.3, (1, *SHAPE))
    data = item(soft(ball(6.0), 4.0), lesion)
    data["image"] = torch.from_numpy(noise + np.select([fluid, lesion], [-5.0, 1.5], 0.0))
    assert dice(MarkovFieldd()(data)["cams"][-1].numpy() > 0.5, lesion) > 0.9


def test_noise_of_single_voxels_does_not_tear_the_mask():
    lesion = ball(8.0)
    data = item(soft(ball(7.0)), lesion)
    data["image"] = data["image"] + torch.from_numpy(np.random.default_rng(1).normal(0, 0.5, (2, *SHAPE)))
    found = MarkovFieldd()(data)["cams"][-1].numpy() > 0.5
    loose = MarkovFieldd(coupling=0.0)(data)["cams"][-1].numpy() > 0.5
    assert dice(found, lesion) > 0.9
    assert _surface(found) < 0.9 * _surface(loose)


def _surface(mask: np.ndarray) -> int:
    return int(np.count_nonzero(mask ^ ndimage.binary_erosion(mask)))


def test_the_map_decides_where_intensities_do_not():
    """A blob that touches the lesion and looks like it: by intensities alone it is part of it, by the map it is not."""
    right, wrong = ball(5.0, (9, 16, 6)), ball(5.0, (18, 16, 6))
    data = item(np.where(wrong, 0.001, soft(right)), right | wrong)
    by_map, by_image = (
        MarkovFieldd(map_weight=weight)(data)["cams"][-1].numpy() > 0.5 for weight in (0.5, 0.0)
    )
    assert dice(by_map, right) > 0.9
    assert dice(by_image, right | wrong) > 0.9


@pytest.mark.parametrize("radius_mm", [2.0, 3.0])
def test_a_small_lesion_keeps_its_map(radius_mm):
    """Whose surroundings would outvote it; a large one beside it is found anew."""
    small, large = ball(radius_mm, (26, 26, 6)), ball(6.0, (10, 10, 6))
    data = item(soft(small | ball(5.0, (10, 10, 6)), 0.5), small | large)
    found = MarkovFieldd()(data)["cams"][-1].numpy() > 0.5
    assert (found & small).sum() == small.sum()
    assert dice(found, small | large) > 0.85


def test_nothing_is_found_outside_the_foreground_or_beyond_the_surroundings():
    lesion, inside = ball(6), np.broadcast_to((np.arange(32) >= 14)[:, None, None], SHAPE)
    data = item(soft(ball(5)), lesion, foreground=torch.from_numpy(inside.copy())[None])
    found = MarkovFieldd(around_mm=8.0)(data)["cams"][-1].numpy()
    assert not found[~inside].any()
    assert not found[~ball(13.1)].any()
    assert dice(found > 0.5, lesion & inside) > 0.9


def test_a_modalitys_scale_and_a_modality_of_zeros_do_not_count():
    data = item(0.9 * ball(6), ball(7.5))
    expected = MarkovFieldd()(data)["cams"]
    scaled = data["image"] * torch.tensor([1.0, 1000.0])[:, None, None, None]
    torch.testing.assert_close(MarkovFieldd()({**data, "image": scaled})["cams"], expected)
    more = torch.cat([data["image"], torch.zeros(1, *SHAPE)])
    torch.testing.assert_close(MarkovFieldd()({**data, "image": more})["cams"], expected)


def test_other_maps_and_the_given_ones_stay_as_they_are():
    data = item(0.9 * ball(8), ball(6))
    before = data["cams"].clone()
    found = MarkovFieldd()(data)["cams"]
    assert torch.equal(found[0], before[0])
    assert torch.equal(data["cams"], before)
    assert found.dtype == torch.float32


@pytest.mark.parametrize(
    "mask",
    [np.zeros(SHAPE, bool), np.ones(SHAPE, bool), ball(1.0)],
    ids=["empty", "everything", "a few voxels"],
)
@pytest.mark.parametrize("background", [0.0, 0.1])
def test_a_map_from_which_nothing_can_be_learnt_keeps_its_mask(mask, background):
    data = item(np.where(mask, 0.9, background), ball(6))
    assert torch.equal(MarkovFieldd()(data)["cams"][-1] > 0.5, data["cams"][-1] > 0.5)


@pytest.mark.parametrize("value", [0.1, 1.0, 7.7])
def test_what_is_constant_around_the_lesion_cannot_tell(value):
    """Such as a scan that was cut out: it varies elsewhere. Beyond the surroundings no map is left."""
    data = item(np.where(ball(8), 0.9, 0.3), ball(8))
    data["image"] = torch.full((2, *SHAPE), value, dtype=torch.float64)
    data["image"][:, :3] = torch.rand(2, 3, *SHAPE[1:], dtype=torch.float64)
    near = ball(8 + 4.0)
    found = MarkovFieldd(around_mm=4.0)(data)["cams"][-1].numpy()
    np.testing.assert_allclose(found[near & ~ball(12.0)], data["cams"][-1].numpy()[near & ~ball(12.0)])
    np.testing.assert_allclose(found[ball(8)], 0.9, rtol=1e-6)
    assert not found[~ball(12.1)].any()


def test_what_the_map_is_sure_of_the_image_does_not_outvote():
    """A network's certainty on either side, 0 and 1 included, stands against one voxel's intensities."""
    found = MarkovFieldd()(item(ball(6.0).astype(float), ball(9.0)))["cams"][-1].numpy()
    assert np.isfinite(found).all()
    assert dice(found > 0.5, ball(6.0)) > 0.9


def test_a_component_that_nowhere_exceeds_the_peak_is_left_out():
    lesion, island = ball(6.0), np.roll(ball(3.0), 12, axis=0) & ~ball(9.0)
    cam = np.select([ball(2.0), lesion, island], [0.85, 0.7, 0.79], 0.0)
    data = item(cam, lesion | island)
    assert (MarkovFieldd()(data)["cams"][-1].numpy() > 0.5)[island].mean() > 0.9
    found = MarkovFieldd(peak=0.8)(data)
    assert dice(found["cams"][-1].numpy() > 0.5, lesion) > 0.9
    assert found["map_steps"][-2:] == (
        "fused map's components below 0.8 left out",
        "fused map's border found anew by the intensities within 20 mm",
    )
    unsure = MarkovFieldd(peak=0.9)(data)["cams"][-1]
    assert torch.equal(unsure, data["cams"][-1].clamp(max=0.5))


@pytest.mark.parametrize(
    "options",
    [
        {"map_weight": -1},
        {"map_weight": np.inf},
        {"coupling": -1},
        {"coupling": 11},
        {"reach_mm": 0},
        {"reach_mm": np.inf},
        {"around_mm": 0},
        {"peak": 0.4},
    ],
)
def test_what_makes_no_field_is_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"MarkovFieldd: expected .*{name}"):
        MarkovFieldd(**options)


def test_it_needs_the_image():
    with pytest.raises(ValueError, match="case 017: MarkovFieldd needs the scan under `image`"):
        MarkovFieldd()(item(0.9 * ball(8), ball(6), image=None))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", ["image", "cams"])
def test_what_is_not_finite_is_refused(place, value):
    data = item(soft(ball(8)), ball(6))
    data[place][-1, 16, 16, 6] = value
    with pytest.raises(ValueError, match="case 017: MarkovFieldd expected finite values, found nan or inf"):
        MarkovFieldd()(data)
