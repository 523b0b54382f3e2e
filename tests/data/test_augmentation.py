"""Random changes of intensities: inside the foreground, for each modality and slice apart, by torch's generator."""

from __future__ import annotations

import pytest
import torch

from bundle.data import IntensityJitter
from tests.tiny import tiny_slices


def test_jitter_is_one_scale_and_one_shift_for_each_modality_of_each_slice():
    image, foreground, _ = tiny_slices(branches=3, count=5, dtype=torch.float64)
    changed = IntensityJitter(0.1, 0.2)(image, foreground)
    inside = foreground[0, 0] > 0
    for before, after in zip(image.flatten(0, 1), changed.flatten(0, 1), strict=True):
        x, y = before[inside], after[inside]
        slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
        torch.testing.assert_close(y, slope * x + (y.mean() - slope * x.mean()))
        assert 0.9 <= slope <= 1.1
        assert -0.2 <= y.mean() - slope * x.mean() <= 0.2
    assert len(changed[:, :, 8, 8].unique()) == 15


def test_jitter_leaves_the_background_as_it_is():
    image, foreground, _ = tiny_slices()
    image = torch.where(foreground > 0, image, -3.0)
    outside = (foreground == 0).expand_as(image)
    assert torch.equal(IntensityJitter()(image, foreground)[outside], image[outside])


def test_no_range_no_jitter():
    image, foreground, _ = tiny_slices()
    assert torch.equal(IntensityJitter(0, 0)(image, foreground), image)


@pytest.mark.parametrize("options", [{"scale_frac": -0.1}, {"shift": -1}])
def test_a_range_is_not_negative(options):
    with pytest.raises(ValueError, match="IntensityJitter: expected numbers from 0 up"):
        IntensityJitter(**options)


def test_torchs_generator_alone_decides():
    image, foreground, _ = tiny_slices()
    jitter = IntensityJitter()
    state = torch.get_rng_state()
    first = jitter(image, foreground)
    torch.set_rng_state(state)
    assert torch.equal(jitter(image, foreground), first)
    assert not torch.equal(jitter(image, foreground), first)


def test_patches_are_changed_as_slices_are_with_one_draw_each():
    image, foreground, _ = tiny_slices(branches=3, count=4)
    change = IntensityJitter(0.2, 0.2)
    torch.manual_seed(0)
    expected = change(image, foreground)
    torch.manual_seed(0)
    deep = [tensor[..., None].expand(*tensor.shape, 5) for tensor in (image, foreground)]
    found = change(*deep)
    assert found.shape == (*image.shape, 5)
    assert all(torch.equal(found[..., position], expected) for position in range(5))
