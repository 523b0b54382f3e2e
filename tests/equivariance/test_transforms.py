"""The warps in a MONAI Compose: random by seed, traced, invertible, one draw for all keys."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from bundle.equivariance import RandWarp, RandWarpd, WarpPolicy


def blob(size: int = 48) -> torch.Tensor:
    axis = torch.linspace(-1, 1, size)
    return torch.exp(-((axis[None] - 0.1) ** 2 + (axis[:, None] + 0.2) ** 2) / 0.05)[None]


def test_compose_seeds_it_and_the_same_seed_gives_the_same_image():
    results = []
    for _ in range(2):
        pipeline = Compose([RandWarp(WarpPolicy(compose=True))]).set_random_state(4)
        results.append(pipeline(blob()).as_tensor())
    assert torch.equal(*results)


@pytest.mark.parametrize("kind", ["flip", "rotate", "scale"])
def test_array_transform_is_traced_and_inverted(kind):
    transform = RandWarp(WarpPolicy(kinds=[kind])).set_random_state(2)
    warped = transform(blob())
    assert isinstance(warped, MetaTensor)
    assert len(warped.applied_operations) == 1
    back = transform.inverse(warped)
    assert not back.applied_operations
    assert (back - blob()).abs().max() < (1e-7 if kind != "scale" else 0.05)
    torch.testing.assert_close(back.affine, torch.eye(4, dtype=torch.float64))


def test_dictionary_transform_draws_once_for_all_keys_and_inverts_through_compose():
    pipeline = Compose(
        [RandWarpd(["image", "mask"], WarpPolicy(kinds=["rotate"]), mode=("bilinear", "nearest"))]
    )
    pipeline.set_random_state(1)
    data = pipeline({"image": blob(), "mask": (blob() > 0.5).float(), "case": "017"})
    assert torch.equal(data["mask"].as_tensor(), (data["image"].as_tensor() > 0.5).float())
    back = pipeline.inverse(data)
    assert torch.equal(back["image"].as_tensor(), blob())
    assert back["case"] == "017"


def test_probability_zero_leaves_the_image_alone():
    assert torch.equal(RandWarp(prob=0.0)(blob()).as_tensor(), blob())


def test_as_many_modes_as_keys():
    with pytest.raises(ValueError, match="one a key"):
        RandWarpd(["image", "mask"], mode=("bilinear", "nearest", "nearest"))
