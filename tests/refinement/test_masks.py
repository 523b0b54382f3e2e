"""Masks are made of maps in one place: threshold, components, holes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bundle.metrics import MaskRule
from bundle.refinement import IntensityVarianceThreshold, MaskMapsd

SPACING_MM = (1.0, 1.0, 3.0)  # a voxel holds 3 mm3


def item(*volumes: np.ndarray, **entries) -> dict:
    cams = torch.from_numpy(np.stack(volumes).astype(np.float32))
    return {"case": "017", "cams": cams, "spacing_mm": SPACING_MM, **entries}


def masks(data: dict, **options) -> np.ndarray:
    return MaskMapsd(**options)(data)["masks"].numpy()


def shell() -> np.ndarray:
    """A box of 5 x 5 x 5 voxels around a hole of 3 x 3 x 3, and a voxel on its own."""
    volume = np.zeros((10, 10, 8))
    volume[1:6, 1:6, 1:6] = 0.9
    volume[2:5, 2:5, 2:5] = 0
    volume[8, 8, 6] = 0.9
    return volume


def test_by_default_a_mask_is_where_the_map_exceeds_a_half():
    cams = np.random.default_rng(0).random((3, 6, 5, 4), dtype=np.float32)
    cams[0, 0, 0, 0] = 0.5  # not above it
    data = MaskMapsd()(item(*cams))
    assert data["masks"].dtype == torch.uint8
    assert np.array_equal(data["masks"].numpy(), cams > 0.5)
    assert data["thresholds"] == (0.5,) * 3


def test_a_number_is_compared_in_the_maps_own_precision():
    cams = np.full((1, 2, 2, 2), 0.9, dtype=np.float32)  # below 0.9 as a double
    assert not masks(item(*cams), threshold=0.9).any()


def test_each_map_gets_its_own_threshold():
    low, high = np.zeros((5, 5, 5)), np.zeros((5, 5, 5))
    low[:2], low[2:4] = 0.1, 0.6  # each between its two levels
    high[:2], high[2:4] = 0.7, 1.0
    data = MaskMapsd("otsu")(item(low, high))
    assert data["thresholds"][0] < 0.6 < 0.7 <= data["thresholds"][1] < 1
    assert data["masks"].sum(dim=(1, 2, 3)).tolist() == [50, 50]


def test_a_rule_looks_at_image_and_foreground_of_the_case():
    cam = np.broadcast_to(np.arange(1, 9) / 10, (4, 4, 8)) + 0.1
    image, foreground = np.zeros((1, 4, 4, 8)), np.ones((1, 4, 4, 8))
    image[..., 5:] = 1
    data = item(cam, image=torch.from_numpy(image), foreground=torch.from_numpy(foreground))
    assert masks(data, threshold=IntensityVarianceThreshold())[0, 0, 0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


def test_a_case_is_named_where_its_rule_fails():
    with pytest.raises(ValueError, match="case 017: threshold variance: expected the scan"):
        masks(item(np.linspace(0, 1, 64).reshape(4, 4, 4)), threshold="variance")


# 98 voxels of 3 mm3 are the shell: 125 - 27.
@pytest.mark.parametrize(("min_volume_mm3", "left"), [(0, 99), (3, 99), (3.1, 98), (294, 98), (294.1, 0)])
def test_components_below_a_volume_in_mm3_go(min_volume_mm3, left):
    assert masks(item(shell()), min_volume_mm3=min_volume_mm3).sum() == left


@pytest.mark.parametrize(("min_volume_mm3", "left"), [(24, 8), (24.1, 0)])
def test_a_lesion_that_fills_its_own_box_is_measured_as_well(min_volume_mm3, left):
    volume = np.zeros((6, 6, 6))
    volume[1:3, 1:3, 1:3] = 0.9
    assert masks(item(volume), min_volume_mm3=min_volume_mm3).sum() == left


def test_voxels_that_share_a_corner_hang_together():
    volume = np.zeros((6, 6, 6))
    volume[1, 1, 1] = volume[2, 2, 2] = 0.9
    assert masks(item(volume), min_volume_mm3=6).sum() == 2


def test_components_of_one_map_do_not_hold_another_maps():
    alone = np.zeros((10, 10, 8))
    alone[1, 1, 1] = 0.9  # lies in the shell, which is another map's
    assert masks(item(shell(), alone), min_volume_mm3=6).sum(axis=(1, 2, 3)).tolist() == [98, 0]


def test_a_hole_is_filled_if_it_is_enclosed_in_three_dimensions():
    assert masks(item(shell()), fill_holes=True).sum() == 99 + 27
    tunnel = shell()
    tunnel[3, 3, 5] = 0  # open through one face, though every other slice encloses it
    assert masks(item(tunnel), fill_holes=True).sum() == 98


def test_a_hole_behind_a_corner_is_closed():
    volume = shell()
    volume[1, 1, 1] = 0  # touches the hole at (2, 2, 2) by its corner alone
    assert masks(item(volume), fill_holes=True).sum() == 98 + 27


def test_a_lesion_that_touches_the_edge_of_the_scan_stays_open_there():
    volume = shell()[:, :, 3:]  # cut through the hole
    assert masks(item(volume), fill_holes=True).sum() == masks(item(volume)).sum()


def test_empty_maps_pass_through():
    data = item(np.zeros((4, 4, 4)))
    for threshold in (0.5, "otsu", "mixture"):
        assert not masks(data, threshold=threshold, min_volume_mm3=5, fill_holes=True).any()


def test_the_item_is_left_as_it_was():
    data = item(shell())
    before = data["cams"].clone()
    masks(data, min_volume_mm3=5, fill_holes=True)
    assert torch.equal(data["cams"], before)
    assert "masks" not in data


def test_reports_are_told_what_was_done():
    assert MaskMapsd(0.35).rule == MaskRule(0.35)
    rule = MaskMapsd("mixture", min_volume_mm3=100, fill_holes=True).rule
    assert rule == MaskRule("mixture", ("components below 100 mm3 removed", "holes filled"))


def test_a_negative_volume_is_refused():
    with pytest.raises(ValueError, match="min_volume_mm3: expected at least 0, got -1"):
        MaskMapsd(min_volume_mm3=-1)
