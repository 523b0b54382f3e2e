"""Slices are upright and square, and maps on them find back onto the scan's own grid."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass

from bundle.data.geometry import SliceGeometry

SHAPE = (5, 8, 3)
ORIENTATIONS = ("RAS", "LPS", "LAS", "PRS", "ASL", "SRA", "IPR", "LSP")


def affine_of(axes: str, spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """Affine of a scan whose stored axes run towards the given directions."""
    affine = np.zeros((4, 4))
    for axis, direction in enumerate(axes):
        row = next(i for i, pair in enumerate(("RL", "AP", "SI")) if direction in pair)
        affine[row, axis] = spacing_mm[axis] * (1 if direction in "RAS" else -1)
    affine[3, 3] = 1
    return affine


def tilted(affine: np.ndarray, angle_deg: float = 12.0) -> np.ndarray:
    """The same scan, tilted about two axes, as scanners store it."""
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    turn = np.eye(4)
    turn[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return turn @ affine


@pytest.mark.parametrize("axes", ORIENTATIONS)
@pytest.mark.parametrize("tilt", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8, bool])
def test_restoring_what_was_not_resized_is_the_identity(axes, tilt, dtype):
    affine = tilted(affine_of(axes)) if tilt else affine_of(axes)
    volume = np.random.default_rng(0).integers(0, 2 if dtype is bool else 99, (2, *SHAPE)).astype(dtype)
    geometry = SliceGeometry.from_scan(SHAPE, affine)
    slices = geometry.apply(volume)
    restored = geometry.restore(slices.swapaxes(0, 1))
    assert slices.shape == (3, 2, 8, 8)
    assert slices.dtype == restored.dtype == dtype
    np.testing.assert_array_equal(restored, volume)


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_slices_follow_the_third_axis_as_stored(axes):
    volume = np.broadcast_to(np.arange(SHAPE[2]), SHAPE).astype(np.float32)
    slices = SliceGeometry.from_scan(SHAPE, affine_of(axes)).apply(volume, fill=-1)
    for number, picture in enumerate(slices):
        assert set(np.unique(picture)) <= {-1.0, float(number)}


@pytest.mark.parametrize("axes", ORIENTATIONS)
@pytest.mark.parametrize("tilt", [False, True])
def test_columns_run_to_the_left_or_back_and_rows_to_the_back_or_down(axes, tilt):
    affine = tilted(affine_of(axes)) if tilt else affine_of(axes)
    volume = np.zeros(SHAPE, dtype=np.float32)
    volume[0, 0, 0], volume[-1, 0, 0], volume[0, -1, 0] = 1, 2, 3
    picture = SliceGeometry.from_scan(SHAPE, affine).apply(volume)[0]
    at = {v: np.argwhere(picture == v)[0] for v in (1, 2, 3)}
    towards = nib.aff2axcodes(affine)
    in_plane = sorted(("LPI".index(code) if code in "LPI" else "RAS".index(code)) for code in towards[:2])
    for corner, stored in ((2, 0), (3, 1)):
        row, column = at[corner] - at[1]
        letter = towards[stored]
        step = 1 if letter in "LPI" else -1
        is_column = ("LPI".index(letter) if letter in "LPI" else "RAS".index(letter)) == in_plane[0]
        assert np.sign([row, column]).tolist() == ([0, step] if is_column else [step, 0])


def test_padding_is_symmetric_and_has_the_fill_of_its_channel():
    geometry = SliceGeometry.from_scan((4, 8, 1), affine_of("LPS"))
    slices = geometry.apply(np.ones((2, 4, 8, 1), dtype=np.int16), fill=[-7, 5])
    for channel, fill in enumerate((-7, 5)):
        assert (slices[0, channel][:, [0, 1, 6, 7]] == fill).all()
        assert (slices[0, channel][:, 2:6] == 1).all()


def test_a_blob_keeps_its_place_within_half_a_pixel_when_96_comes_from_240():
    geometry = SliceGeometry.from_scan((240, 200, 2), affine_of("RAS", (0.5, 1.0, 3.0)), 96)
    x, y = np.meshgrid(np.arange(240), np.arange(200), indexing="ij")
    volume = np.zeros((240, 200, 2), dtype=np.float32)
    volume[..., 1] = (x - 61) ** 2 + (y - 152) ** 2 < 14**2
    restored = geometry.restore(geometry.apply(volume)[None])[0]
    assert restored.shape == volume.shape
    assert np.abs(np.subtract(center_of_mass(restored), (61, 152, 1))).max() < 0.5
    assert restored.sum() == pytest.approx(volume.sum(), rel=0.02)


def test_nearest_keeps_a_mask_a_mask():
    geometry = SliceGeometry.from_scan((30, 40, 2), affine_of("LPS"), 16)
    mask = np.random.default_rng(0).integers(0, 2, (30, 40, 2)).astype(bool)
    slices = geometry.apply(mask, "nearest")
    assert slices.dtype == bool
    assert geometry.restore(slices[None].astype(np.uint8) * 4, "nearest").dtype == np.uint8
    assert set(np.unique(geometry.restore(slices[None].astype(np.uint8) * 4, "nearest"))) == {0, 4}


def test_a_constant_stays_constant_through_resizing():
    geometry = SliceGeometry.from_scan((30, 30, 2), affine_of("LPS"), 12)
    slices = geometry.apply(np.full((30, 30, 2), 3.5, dtype=np.float32))
    np.testing.assert_allclose(slices, 3.5, rtol=1e-6)
    np.testing.assert_allclose(geometry.restore(slices[None]), 3.5, rtol=1e-6)


def test_volumes_larger_than_a_chunk_come_out_the_same(monkeypatch):
    volume = np.random.default_rng(0).random((2, 9, 12, 7)).astype(np.float32)
    geometry = SliceGeometry.from_scan((9, 12, 7), affine_of("PSR"), 8)
    whole = geometry.apply(volume)
    monkeypatch.setattr("bundle.data.geometry.CHUNK_VOXELS", 1)
    np.testing.assert_array_equal(geometry.apply(volume), whole)
    maps = torch.from_numpy(whole).transpose(0, 1)
    restored = geometry.restore(maps)
    assert isinstance(restored, torch.Tensor)
    monkeypatch.undo()
    torch.testing.assert_close(restored, geometry.restore(maps), rtol=0, atol=0)


def test_json_gives_an_equal_geometry_back():
    geometry = SliceGeometry.from_scan(SHAPE, tilted(affine_of("ASL", (0.9, 1 / 3, 3.1))), 96)
    assert SliceGeometry.from_dict(json.loads(json.dumps(geometry.to_dict()))) == geometry


def test_spacing_is_that_of_the_stored_axes():
    geometry = SliceGeometry.from_scan(SHAPE, tilted(affine_of("ASL", (0.9, 0.5, 3.1))))
    assert geometry.spacing_mm == pytest.approx((0.9, 0.5, 3.1))


def test_a_singular_affine_is_refused():
    with pytest.raises(ValueError, match=r"affine is singular.*correct the header"):
        SliceGeometry.from_scan(SHAPE, np.diag([1.0, 0.0, 1.0, 1.0]))


def test_maps_of_another_size_are_refused():
    geometry = SliceGeometry.from_scan(SHAPE, np.eye(4))
    with pytest.raises(ValueError, match=r"expected maps of \(N, 3, 8, 8\), found"):
        geometry.restore(np.zeros((1, 3, 4, 4)))
    with pytest.raises(ValueError, match="expected a volume of"):
        geometry.apply(np.zeros((5, 5, 5)))
    with pytest.raises(ValueError, match="bilinear or nearest"):
        geometry.apply(np.zeros(SHAPE), "cubic")


@pytest.mark.parametrize(("size", "scale"), [(None, 1.0), (30, 2.0)])
def test_a_pixel_is_as_high_and_wide_as_its_voxels_and_the_resizing_say(size, scale):
    along_x = SliceGeometry.from_scan((60, 40, 6), np.diag([-1.0, -2.0, 3.0, 1.0]), size)
    assert along_x.pixel_mm == (
        2.0 * scale,
        1.0 * scale,
    )  # columns run along the first axis, from right to left
    turned = np.array(
        [[0, -2.0, 0, 0], [-1.0, 0, 0, 0], [0, 0, 3.0, 0], [0, 0, 0, 1]]
    )  # first axis: posterior
    assert SliceGeometry.from_scan((60, 40, 6), turned, size).pixel_mm == (1.0 * scale, 2.0 * scale)
