"""A warp is one value: every tensor agrees on it, gradients pass, and it can be undone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bundle.equivariance import Warp, WarpPolicy

ALL_EXACT = [(turns, mirrored) for turns in range(4) for mirrored in (False, True)]


def smooth_image(size: int = 48, batch: int = 3) -> torch.Tensor:
    axis = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    blob = torch.exp(-((x - 0.2) ** 2 + (y + 0.1) ** 2) / 0.08)
    return torch.stack([blob * (i + 1) / batch for i in range(batch)])[:, None]


def drawn(seed: int, batch: int = 3, **kwargs) -> Warp:
    return WarpPolicy(**kwargs).set_random_state(seed).draw(batch)


@pytest.mark.parametrize(("turns", "mirrored"), ALL_EXACT)
def test_flips_and_quarter_turns_are_exact_and_undone_exactly(turns, mirrored):
    image = torch.rand(2, 1, 9, 9)
    warp = Warp(np.array([turns, 0]), np.array([mirrored, False]))
    expected = torch.rot90(image[:1].flip(-1) if mirrored else image[:1], turns, (-2, -1))
    assert torch.equal(warp.apply(image)[:1], expected)
    assert torch.equal(warp.inverse().apply(warp.apply(image)), image)


@pytest.mark.parametrize("seed", range(8))
def test_warp_then_unwarp_is_the_identity_inside_the_field_of_view(seed):
    image = smooth_image()
    warp = drawn(seed, compose=True, shift_frac=0.1)
    back = warp.inverse().apply(warp.apply(image))
    inside = warp.inverse().apply(warp.field_of_view(image)) > 0.99
    assert inside.float().mean() > 0.5
    assert ((back - image).abs() * inside).max() < 0.05


@pytest.mark.parametrize("kind", ["flip", "rotate", "scale", "translate"])
def test_voxel_matrix_says_where_each_pixel_came_from(kind):
    size, warp = 21, drawn(3, batch=1, kinds=[kind])
    rows, columns = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    source = warp.apply(torch.stack([rows, columns])[None])[0]
    inside = warp.field_of_view(rows[None, None])[0, 0] > 0
    output = torch.stack([rows, columns, torch.ones_like(rows)]).reshape(3, -1)
    claimed = (torch.as_tensor(warp.voxel_matrix(size)[0]).float() @ output)[:2].reshape(2, size, size)
    assert ((source - claimed).abs() * inside).max() < 1e-3


def test_a_positive_scale_enlarges_and_a_positive_shift_moves_right_and_down():
    image = torch.zeros(1, 1, 40, 40)
    image[..., 15:25, 15:25] = 1
    zoom = Warp(np.zeros(1, int), np.zeros(1, bool), np.array([[[1 / 1.2, 0, 0], [0, 1 / 1.2, 0]]]))
    assert zoom.apply(image).sum() == pytest.approx(1.44 * 100, rel=0.02)
    shift = Warp(np.zeros(1, int), np.zeros(1, bool), np.array([[[1.0, 0, -2 * 0.25], [0, 1.0, -2 * 0.1]]]))
    moved = shift.apply(image)[0, 0]
    assert torch.equal(moved[19:29, 25:35], torch.ones(10, 10))  # 0.1 * 40 rows down, 0.25 * 40 columns right


def test_field_of_view_is_full_without_interpolation_and_shrinks_with_a_shift():
    image = torch.rand(4, 2, 20, 20)
    assert drawn(0, batch=4, kinds=["rotate"]).field_of_view(image).mean() == 1
    shift = Warp(np.zeros(4, int), np.zeros(4, bool), np.tile([[[1.0, 0, -0.5], [0, 1.0, 0]]], (4, 1, 1)))
    assert torch.equal(shift.field_of_view(image)[0, 0, 0], torch.tensor([0.0] * 5 + [1.0] * 15))


def test_one_draw_serves_every_modality_and_map():
    image = smooth_image()
    warp = drawn(5, compose=True)
    both = warp.apply(torch.cat([image, 2 * image], dim=1))
    torch.testing.assert_close(both[:, 1:], 2 * both[:, :1])
    torch.testing.assert_close(both[:, :1], warp.apply(image))


def test_gradients_pass_through_to_every_pixel_that_stays_in_view():
    image = torch.rand(2, 1, 16, 16, requires_grad=True)
    Warp(np.array([1, 0]), np.array([True, False])).apply(image).sum().backward()
    assert torch.equal(image.grad, torch.ones_like(image))


def test_channels_last_and_double_precision_are_kept():
    image = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    assert drawn(1, batch=2, kinds=["scale"]).apply(image).dtype == torch.float64


def test_wrong_batch_and_non_square_slices_are_refused():
    with pytest.raises(ValueError, match="draw the warp for this batch"):
        Warp.identity(2).apply(torch.rand(3, 1, 8, 8))
    with pytest.raises(ValueError, match="square"):
        Warp(np.ones(1, dtype=int), np.zeros(1, dtype=bool)).apply(torch.rand(1, 1, 8, 9))


@pytest.mark.parametrize("shape", [(2, 1, 8, 9), (2, 1, 8, 8, 4)])
def test_the_identity_leaves_any_shape_as_it_is(shape):
    image = torch.rand(shape)
    assert Warp.identity(2).apply(image) is image


def test_one_of_four_per_batch_by_default_and_all_when_composed():
    policy = WarpPolicy().set_random_state(0)
    kinds = set()
    for _ in range(60):
        warp = policy.draw(8)
        if warp.matrix is None:
            kinds.add("flip" if warp.mirrored.all() else "rotate")
            assert warp.mirrored.all() or (not warp.mirrored.any() and (warp.turns > 0).all())
        else:
            assert not warp.mirrored.any()
            assert not warp.turns.any()
            kinds.add("scale" if np.allclose(warp.matrix[:, :, 2], 0) else "translate")
    assert kinds == {"flip", "rotate", "scale", "translate"}
    composed = WarpPolicy(compose=True).set_random_state(0).draw(8)
    assert composed.mirrored.all()
    assert not np.allclose(composed.matrix[:, :, 2], 0)


def test_draws_stay_in_their_ranges():
    policy = WarpPolicy(kinds=["scale", "translate"], compose=True).set_random_state(0)
    warp = policy.draw(500)
    factors = 1 / warp.matrix[:, 0, 0]
    shifts = -warp.matrix[:, :, 2] * factors[:, None] / 2
    assert 0.8 <= factors.min() < 0.82
    assert 1.18 < factors.max() <= 1.2
    assert 0.28 < np.abs(shifts).max() <= 0.3


def test_same_seed_same_draw():
    first, second = drawn(7, compose=True), drawn(7, compose=True)
    assert np.array_equal(first.matrix, second.matrix)
    assert np.array_equal(first.turns, second.turns)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"kinds": ["shear"]}, "flip, rotate, scale, translate"),
        ({"kinds": []}, "flip, rotate"),
        ({"scale_range": (1.2, 0.8)}, "lower <= upper"),
        ({"shift_frac": 1.5}, "share"),
    ],
)
def test_policies_that_make_no_sense_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        WarpPolicy(**kwargs)
