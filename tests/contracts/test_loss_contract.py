"""What every loss term promises; a new one is covered as soon as it is exported."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from functools import partial

import pytest
import torch
from torch import nn

import bundle.losses
from bundle.equivariance import Evidence, Views
from bundle.losses import AdaptiveMinPoolingLoss, ClassificationLoss, JointLoss, VolumeClassificationLoss
from bundle.losses.refined_views import max_normalised
from bundle.networks import PixelCorrelationReadout, Readout
from tests.tiny import gradients, tiny_loss, tiny_views

CLASSES = [
    item
    for item in (getattr(bundle.losses, name) for name in bundle.losses.__all__)
    if inspect.isclass(item) and issubclass(item, nn.Module) and item is not JointLoss
    if not getattr(item, "learns_from_masks", False)  # tests/losses/test_supervised_loss.py
]
# the others compare branches or views
LEARN_FROM_TAGS = [ClassificationLoss, AdaptiveMinPoolingLoss, VolumeClassificationLoss]


def maker(item):
    """A class that reads refined maps gets what reads them, from evidence of two channels a branch."""
    reads = "readout" in inspect.signature(item).parameters
    made = partial(item, readout=PixelCorrelationReadout(Readout(1))) if reads else item
    return pytest.param(made, id=item.__name__)


MAKERS = [maker(item) for item in [*CLASSES, tiny_loss]]
every_term = pytest.mark.parametrize("make", MAKERS)
any_number_of_branches = pytest.mark.parametrize("branches", [1, 2, 3, 4])


def changed(views: Views, change) -> Views:
    """Every tensor of both views changed alike."""
    tensors = (getattr(views, field.name) for field in fields(views))
    evidence = Evidence(
        *(
            torch.stack([change(tensor[:, channel::2]) for channel in (0, 1)], dim=2).flatten(1, 2)
            for tensor in (views.evidence.plain, views.evidence.warped)
        ),
        views.evidence.warp,
    )
    return Views(*(change(tensor) for tensor in tensors if isinstance(tensor, torch.Tensor)), evidence)


@every_term
@any_number_of_branches
def test_a_scalar_that_is_never_negative_with_finite_gradients(make, branches):
    views, tags = tiny_views(branches)
    value = make()(views, tags)
    assert value.shape == ()
    assert value.dtype == torch.float64
    assert value >= 0
    assert value.requires_grad
    assert all(gradient.isfinite().all() for gradient in gradients(value, views))


@every_term
@any_number_of_branches
def test_the_order_of_modalities_does_not_matter(make, branches):
    views, tags = tiny_views(branches)
    order = torch.arange(branches).roll(1)
    other = changed(views, lambda tensor: tensor if tensor is views.field_of_view else tensor[:, order])
    torch.testing.assert_close(make()(other, tags), make()(views, tags))


@every_term
def test_the_order_of_slices_does_not_matter(make):
    views, tags = tiny_views(3, batch=4)
    torch.testing.assert_close(
        make()(changed(views, lambda tensor: tensor.flip(0)), tags.flip(0)), make()(views, tags)
    )


@every_term
@pytest.mark.parametrize("axis", [-1, -2])
def test_flipping_all_maps_alike_does_not_matter(make, axis):
    views, tags = tiny_views(3)
    flipped = changed(views, lambda tensor: tensor.flip(axis) if tensor.ndim == 4 else tensor)
    torch.testing.assert_close(make()(flipped, tags), make()(views, tags))


@every_term
def test_swapping_the_two_views_does_not_matter(make):
    views, tags = tiny_views(3)
    swapped = Views(
        *(views.warped_logits, views.plain_logits, views.warped_cams, views.plain_cams, views.field_of_view),
        Evidence(views.evidence.warped, views.evidence.plain, views.evidence.warp),
    )
    torch.testing.assert_close(make()(swapped, tags), make()(views, tags))


@every_term
def test_pixels_out_of_view_do_not_matter(make):
    views, tags = tiny_views(3)
    outside = views.field_of_view == 0
    assert outside.any()
    other = replace(
        views,
        plain_cams=torch.where(outside, 0.77, views.plain_cams),
        warped_cams=torch.where(outside, 0.11, views.warped_cams),
        evidence=Evidence(
            torch.where(outside, 0.77, views.evidence.plain),
            torch.where(outside, 0.11, views.evidence.warped),
            views.evidence.warp,
        ),
    )
    value = make()(views, tags)
    assert torch.equal(make()(other, tags), value)
    _, _, *maps = gradients(value, views)
    assert not any((gradient * outside).any() for gradient in maps)


@pytest.mark.parametrize("make", [maker(item) for item in CLASSES if item not in LEARN_FROM_TAGS])
@any_number_of_branches
def test_agreement_costs_nothing_but_where_tags_are_learnt(make, branches):
    one, tags = tiny_views(1)
    cams = max_normalised(one.plain_cams, one.field_of_view)  # as a reader's; a refined map has any scale
    agreeing = Views(
        *(tensor.repeat(1, branches, *[1] * (tensor.ndim - 2)) for tensor in [one.plain_logits] * 2),
        *(cams.repeat(1, branches, 1, 1) for _ in range(2)),
        one.field_of_view,
        Evidence(*[one.plain_cams.repeat(1, 2 * branches, 1, 1)] * 2, one.evidence.warp),
    )
    assert make()(agreeing, tags).item() == pytest.approx(0, abs=1e-12)


@every_term
def test_whole_numbers_serve_as_tags(make):
    views, tags = tiny_views(3)
    torch.testing.assert_close(make()(views, tags.long()), make()(views, tags))


@every_term
def test_empty_maps_give_finite_gradients(make):
    views, tags = tiny_views(3)
    empty = replace(
        views,
        plain_cams=torch.zeros_like(views.plain_cams).requires_grad_(),
        warped_cams=torch.zeros_like(views.warped_cams).requires_grad_(),
    )
    value = make()(empty, tags)
    assert value.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients(value, empty))


@every_term
def test_single_precision_is_close_to_double(make):
    views, tags = tiny_views(3)
    value = make()(changed(views, lambda tensor: tensor.float()), tags.float())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), make()(views, tags), rtol=1e-5, atol=1e-6)
