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


def test_parts_that_the_map_missed_by_far_are_found_and_other_tissue_as_bright_is_not():
    """What a band around the map's border cannot reach: half of a long lesion. A vessel elsewhere stays out."""
    lesion = ball(6.0, (10, 16, 6)) | ball(6.0, (18, 16, 6))
    elsewhere = ball(3.0, (28, 28, 6))
    cam = soft(ball(6.0, (10, 16, 6)), 4.0)
    found = MarkovFieldd(around_mm=15.0)(item(cam, lesion | elsewhere))["cams"][-1].numpy() > 0.5
    assert dice(found, lesion) > 0.9
    assert not found[elsewhere].any()


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
    """Two alike blobs of one lesion's intensities close together: the map knows which is one."""
    right, wrong = ball(5.0, (9, 16, 6)), ball(5.0, (20, 16, 6))
    cam = 0.9 * right + 0.01
    trusting = MarkovFieldd(map_weight=2.0)(item(cam, right | wrong))["cams"][-1].numpy() > 0.5
    assert dice(trusting, right) > 0.9


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
    [np.zeros(SHAPE), np.ones(SHAPE) / 0.9, ball(1.0) / 0.9],
    ids=["empty", "everything", "a few voxels"],
)
def test_a_map_from_which_nothing_can_be_learnt_stays(mask):
    data = item(0.9 * mask, ball(6))
    torch.testing.assert_close(MarkovFieldd()(data)["cams"][-1] > 0.5, data["cams"][-1] > 0.5)


def test_a_constant_image_cannot_tell():
    data = item(0.9 * ball(8), ball(8))
    data["image"] = torch.ones(2, *SHAPE)
    assert torch.equal(MarkovFieldd()(data)["cams"], data["cams"])


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
    "options", [{"map_weight": -1}, {"coupling": -1}, {"reach_mm": 0}, {"around_mm": 0}, {"peak": 0.4}]
)
def test_what_makes_no_field_is_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"MarkovFieldd: expected .*{name}"):
        MarkovFieldd(**options)


def test_it_needs_the_image():
    with pytest.raises(ValueError, match="case 017: MarkovFieldd needs the scan under `image`"):
        MarkovFieldd()(item(0.9 * ball(8), ball(6), image=None))
