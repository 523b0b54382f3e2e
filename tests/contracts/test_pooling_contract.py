"""What every pooling promises; a new one is covered as soon as it is exported."""

from __future__ import annotations

import inspect

import pytest
import torch

import bundle.pooling
from bundle.pooling import Pooling

CLASSES = [
    item
    for item in (getattr(bundle.pooling, name) for name in bundle.pooling.__all__)
    if inspect.isclass(item) and issubclass(item, Pooling) and not inspect.isabstract(item)
]
pytestmark = pytest.mark.parametrize("pooling_class", CLASSES, ids=lambda item: item.__name__)


def make_evidence(maps: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(maps)
    evidence = torch.randn(2, maps, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    foreground = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    foreground[..., 1:7, 2:7] = 1
    return evidence, foreground


@pytest.mark.parametrize("maps", [1, 2, 3, 4, 8])
def test_each_map_becomes_one_value_of_its_own(pooling_class, maps):
    evidence, foreground = make_evidence(maps)
    pooled = pooling_class()(evidence, foreground)
    assert pooled.shape == (2, maps)
    alone = [pooling_class()(evidence[:, m : m + 1], foreground) for m in range(maps)]
    torch.testing.assert_close(pooled, torch.cat(alone, dim=1))


@pytest.mark.parametrize("foreground_only", [True, False])
def test_a_constant_map_gives_that_constant(pooling_class, foreground_only):
    _, foreground = make_evidence()
    for constant in (-3.0, 0.0, 12.5):
        evidence = torch.full((2, 3, 8, 8), constant, dtype=torch.float64)
        pooled = pooling_class(foreground_only=foreground_only)(evidence, foreground)
        torch.testing.assert_close(pooled, torch.full_like(pooled, constant))


@pytest.mark.parametrize("foreground_only", [True, False])
def test_the_result_lies_between_smallest_and_largest_value(pooling_class, foreground_only):
    evidence, foreground = make_evidence()
    pooled = pooling_class(foreground_only=foreground_only)(evidence, foreground)
    assert (evidence.amin((2, 3)) <= pooled).all()
    assert (pooled <= evidence.amax((2, 3))).all()


def test_inside_the_foreground_the_background_does_not_matter(pooling_class):
    evidence, foreground = make_evidence()
    other = torch.where(foreground > 0, evidence, 1e3)
    pooled = pooling_class(foreground_only=True)(evidence, foreground)
    assert torch.equal(pooling_class(foreground_only=True)(other, foreground), pooled)
    (gradient,) = torch.autograd.grad(pooled.sum(), evidence)
    assert not (gradient * (1 - foreground)).any()


def test_over_the_whole_slice_the_foreground_does_not_matter(pooling_class):
    evidence, foreground = make_evidence()
    pooling = pooling_class(foreground_only=False)
    assert torch.equal(pooling(evidence, foreground), pooling(evidence, 1 - foreground))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_slice_without_foreground_gives_0_and_finite_gradients(pooling_class, dtype):
    evidence, foreground = make_evidence()
    evidence = evidence.detach().to(dtype).requires_grad_()
    foreground[0] = 0
    pooled = pooling_class(foreground_only=True)(evidence, foreground.to(dtype))
    assert not pooled[0].any()
    assert pooled[1].all()
    pooled.sum().backward()
    assert evidence.grad.isfinite().all()
    assert not evidence.grad[0].any()


def test_the_order_of_pixels_does_not_matter(pooling_class):
    evidence, foreground = make_evidence()
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))

    def shuffle(image: torch.Tensor) -> torch.Tensor:
        return image.flatten(2)[..., order].reshape(image.shape)

    pooling = pooling_class()
    torch.testing.assert_close(pooling(shuffle(evidence), shuffle(foreground)), pooling(evidence, foreground))


@pytest.mark.parametrize("foreground_only", [True, False])
def test_more_evidence_everywhere_is_that_much_more_in_the_logit(pooling_class, foreground_only):
    evidence, foreground = make_evidence()
    pooling = pooling_class(foreground_only=foreground_only)
    torch.testing.assert_close(pooling(evidence + 2.5, foreground), pooling(evidence, foreground) + 2.5)


def test_gradients_are_those_of_finite_differences(pooling_class):
    evidence, foreground = make_evidence()
    pooling = pooling_class()
    small = evidence.detach()[:1, :1, :4, :4].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pooling(x, foreground[:1, :, :4, :4]), [small])
