"""Slices and their neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bundle.refinement import SmoothMapsd


def item(profile: list[float], spacing_mm: float = 1.0) -> dict:
    """Two maps whose slices are constant, with these values; the second is empty."""
    maps = torch.zeros(2, 5, 5, len(profile))
    maps[0] = torch.tensor(profile)
    return {"cams": maps, "spacing_mm": (1.0, 1.0, spacing_mm)}


def smoothed(data: dict, **options) -> list[float]:
    return SmoothMapsd(**options)(data)["cams"][0, 2, 2].tolist()


def test_off_by_default():
    data = item([0, 1, 0, 0])
    assert SmoothMapsd()(data)["cams"] is data["cams"]


def test_a_gap_is_closed_and_a_lone_slice_is_lost():
    found = smoothed(item([0, 0, 0, 1, 1, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0]), slices_mm=1.0)
    assert found[5] > 0.5
    assert found[12] < 0.5


def test_values_by_hand():
    # sigma 1 slice, cut after 3: weights exp(-d^2 / 2) / 2.5057 = 0.3991, 0.2420, 0.0540, 0.0044
    found = smoothed(item([0, 0, 0, 0, 1, 0, 0, 0, 0]), slices_mm=1.0)
    assert found == pytest.approx([0, 0.0044, 0.0540, 0.2420, 0.3991, 0.2420, 0.0540, 0.0044, 0], abs=1e-4)


def test_the_width_is_in_mm():
    profile = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert smoothed(item(profile, 3.0), slices_mm=3.0) == pytest.approx(
        smoothed(item(profile), slices_mm=1.0)
    )


def test_the_outermost_slice_goes_on_beyond_the_scan():
    assert smoothed(item([1, 1, 1]), slices_mm=2.0) == pytest.approx([1, 1, 1])


def test_within_slices_on_request_and_maps_stay_apart_and_in_range():
    data = item([0, 0, 0])
    data["cams"][0, 2, 2, 1] = 1
    found = SmoothMapsd(plane_mm=1.0)(data)["cams"]
    assert found[0, 2, 1, 1] == pytest.approx(0.0965, abs=1e-3)  # 0.3991 x 0.2420
    assert not found[..., [0, 2]].any()
    assert not found[1].any()
    assert 0 <= found.min() <= found.max() <= 1
    assert found.dtype == torch.float32


@pytest.mark.parametrize(
    ("option", "name"), [("slices_mm", "smooth_slices_mm"), ("plane_mm", "smooth_plane_mm")]
)
@pytest.mark.parametrize("width", [-1, np.nan])
def test_a_negative_width_is_refused(option, name, width):
    with pytest.raises(ValueError, match=f"{name}: expected a width of at least 0 mm"):
        SmoothMapsd(**{option: width})
