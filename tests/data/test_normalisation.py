"""Intensities: by the volume's foreground, or slice by slice as in the paper."""

from __future__ import annotations

import pytest
import torch

from bundle.data.normalisation import LowestToZerod, NormalizeByForegroundd, SliceNormalization


def by_hand() -> dict[str, torch.Tensor]:
    """Two channels of 1 x 4 pixels; the last pixel is background."""
    return {
        "image": torch.tensor([[[0.0, 10.0, 50.0, 99.0]], [[-5.0, 1.0, 2.0, 0.0]]]),
        "foreground": torch.tensor([[[1.0, 1.0, 1.0, 0.0]]]),
        "statistics": torch.tensor([[5.0, 20.0, 10.0, 5.0], [-1.0, 3.0, 1.0, 0.5]]),  # low, high, mean, SD
    }


# first channel clipped to 5, 10, 20, then (x - 10) / 5; second to -1, 1, 2, then (x - 1) / 0.5
EXPECTED = torch.tensor([[[-1.0, 0.0, 2.0, 0.0]], [[-4.0, 0.0, 2.0, 0.0]]])


def test_clip_and_z_score_by_hand():
    assert torch.equal(NormalizeByForegroundd("image")(by_hand())["image"], EXPECTED)


def test_a_volume_is_treated_as_its_slices():
    data = by_hand()
    data["image"], data["foreground"] = data["image"][..., None], data["foreground"][..., None]
    assert torch.equal(NormalizeByForegroundd("image")(data)["image"], EXPECTED[..., None])


def test_the_input_stays_as_it_was():
    data = by_hand()
    image = data["image"]
    found = NormalizeByForegroundd("image")(data)
    assert torch.equal(image, by_hand()["image"])
    assert data["image"] is image
    assert set(found) == set(data)


def test_without_spread_the_foreground_is_0_and_finite():
    data = by_hand()
    data["image"] = torch.full_like(data["image"], 7.0)
    data["statistics"] = torch.tensor([[7.0, 7.0, 7.0, 0.0]] * 2)
    assert not NormalizeByForegroundd("image")(data)["image"].any()


def test_a_missing_key_is_an_error_unless_allowed():
    with pytest.raises(KeyError):
        NormalizeByForegroundd("scan")(by_hand())
    assert set(NormalizeByForegroundd("scan", allow_missing_keys=True)(by_hand())) == set(by_hand())


def test_each_slice_and_channel_gets_mean_0_and_unbiased_sd_1():
    image = (
        100 + 30 * torch.randn(3, 2, 16, 16, dtype=torch.float64) * torch.arange(1, 4)[:, None, None, None]
    )
    found = SliceNormalization()(image)
    zeros, ones = torch.zeros(3, 2, dtype=torch.float64), torch.ones(3, 2, dtype=torch.float64)
    torch.testing.assert_close(found.mean((2, 3)), zeros)
    torch.testing.assert_close(found.std((2, 3), unbiased=True), ones)


def test_the_background_counts():
    # 1, 1, 1, 5: mean 2, unbiased SD sqrt((1 + 1 + 1 + 9) / 3) = 2
    image = torch.tensor([[1.0, 1.0], [1.0, 5.0]])[None, None]
    torch.testing.assert_close(SliceNormalization()(image).flatten(), torch.tensor([-0.5, -0.5, -0.5, 1.5]))


@pytest.mark.parametrize("value", [0.0, 0.1, -7.7, 1234.5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_constant_slice_becomes_0(value, layout):
    image = torch.full((2, 2, 96, 96), value).contiguous(memory_format=layout)
    assert not SliceNormalization()(image).any()


def test_a_negative_background_becomes_zero_and_slice_normalisation_does_not_notice():
    image = torch.tensor([[[-3.5, -3.5], [0.5, 1.5]], [[0.0, 0.0], [2.0, 4.0]]])
    shifted = LowestToZerod("image")({"image": image})["image"]
    assert torch.equal(shifted, torch.tensor([[[0.0, 0.0], [4.0, 5.0]], [[0.0, 0.0], [2.0, 4.0]]]))
    normalise = SliceNormalization()
    torch.testing.assert_close(normalise(shifted[None]), normalise(image[None]))
