"""Random changes of intensities: inside the foreground, for each modality and slice apart, by torch's generator."""

from __future__ import annotations

import pytest
import torch

from bundle.data import Augmentations, IntensityJitter, ModalityDropout
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


def kept(prob: float, count: int = 4, slices: int = 4000) -> torch.Tensor:
    """Which modalities stay, bool (slices, count)."""
    torch.manual_seed(0)
    image = torch.ones(slices, count, 2, 2)
    left = ModalityDropout(prob)(image, image[:, :1])
    assert set(left.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(left, left[:, :, :1, :1].expand_as(left))  # a modality goes as a whole
    return left[:, :, 0, 0] > 0


def test_a_slice_never_loses_all_modalities_and_always_some():
    stay = kept(prob=1.0).sum(1)
    assert stay.min() == 1
    assert stay.max() == 3
    for number in (1, 2, 3):  # each as often: a third of 4000, standard deviation 30
        assert (stay == number).sum() == pytest.approx(4000 / 3, abs=150)


def test_each_modality_goes_as_often_as_another():
    # by probability 1/2, then 3, 2 or 1 of 4: half of them; so each goes in a quarter of the slices
    assert (~kept(prob=0.5)).float().mean(0).tolist() == pytest.approx([0.25] * 4, abs=0.03)


def test_without_probability_nothing_goes():
    assert kept(prob=0.0).all()


def test_a_single_modality_stays():
    image, foreground, _ = tiny_slices(branches=1)
    assert torch.equal(ModalityDropout(1.0)(image, foreground), image)


@pytest.mark.parametrize("prob", [-0.1, 1.1])
def test_a_probability_lies_between_0_and_1(prob):
    with pytest.raises(ValueError, match=r"ModalityDropout prob: expected a number in \[0, 1\]"):
        ModalityDropout(prob)


def test_several_come_one_after_another():
    image, foreground, _ = tiny_slices()
    both = Augmentations([IntensityJitter(), ModalityDropout(1.0)])
    torch.manual_seed(1)
    found = both(image, foreground)
    torch.manual_seed(1)
    assert torch.equal(found, ModalityDropout(1.0)(IntensityJitter()(image, foreground), foreground))
    assert (found == 0).all(dim=(2, 3)).sum() == 4  # one of two modalities in each slice, shift or not


def test_torchs_generator_alone_decides():
    image, foreground, _ = tiny_slices()
    both = Augmentations([IntensityJitter(), ModalityDropout()])
    state = torch.get_rng_state()
    first = both(image, foreground)
    torch.set_rng_state(state)
    assert torch.equal(both(image, foreground), first)
    assert not torch.equal(both(image, foreground), first)


@pytest.mark.parametrize("change", [IntensityJitter(0.2, 0.2), ModalityDropout(1.0)])
def test_patches_are_changed_as_slices_are_with_one_draw_each(change):
    image, foreground, _ = tiny_slices(branches=3, count=4)
    torch.manual_seed(0)
    expected = change(image, foreground)
    torch.manual_seed(0)
    deep = [tensor[..., None].expand(*tensor.shape, 5) for tensor in (image, foreground)]
    found = change(*deep)
    assert found.shape == (*image.shape, 5)
    assert all(torch.equal(found[..., position], expected) for position in range(5))
