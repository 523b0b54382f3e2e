"""Bags: one slice is enough for a positive volume, none is allowed in a negative one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from bundle.losses import ClassificationLoss, VolumeClassificationLoss
from bundle.losses.volume_classification import LOOKED_AT
from bundle.pooling import SlicePooling
from tests.tiny import gradients, tiny_views

MAXIMUM = SlicePooling(share=0.0)


def views_of(logits: list[float]):
    views, _ = tiny_views(1, batch=len(logits))
    column = torch.tensor(logits, dtype=torch.float64)[:, None]
    return replace(
        views, plain_logits=column.clone().requires_grad_(), warped_logits=column.clone().requires_grad_()
    )


def test_a_bag_of_one_slice_is_the_classification_loss():
    views, tags = tiny_views(3, batch=4)
    torch.testing.assert_close(VolumeClassificationLoss(1)(views, tags), ClassificationLoss()(views, tags))


def test_by_hand():
    # positive bag (2, -5): log(1 + e^-2); negative bag (0, ln 3): mean of log 2 and log 4; mean of both bags
    loss = VolumeClassificationLoss(2, MAXIMUM)
    expected = 0.5 * (math.log1p(math.exp(-2)) + 0.5 * (math.log(2) + math.log(4)))
    value = loss(views_of([2.0, -5.0, 0.0, math.log(3)]), torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert value.item() == pytest.approx(expected, rel=1e-9)


def test_in_a_positive_bag_only_the_pooled_slices_learn_in_a_negative_one_all():
    views = views_of([2.0, -5.0, 0.0, 1.0])
    value = VolumeClassificationLoss(2, MAXIMUM)(views, torch.tensor([1.0, 1.0, 0.0, 0.0]))
    plain, *_ = gradients(value, views)
    assert (plain[:, 0] < 0).tolist() == [True, False, False, False]
    assert plain[1] == 0
    assert (plain[2:] > 0).all()


def test_where_a_lesion_lies_in_its_bag_does_not_matter():
    tags = torch.tensor([1.0, 1.0, 0.0, 0.0])
    loss = VolumeClassificationLoss(2, MAXIMUM)
    one, other = loss(views_of([2.0, -5.0, 0.0, 1.0]), tags), loss(views_of([-5.0, 2.0, 1.0, 0.0]), tags)
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("count", "tags"), [(2, [1.0, 0.0, 1.0, 1.0]), (3, [1.0, 1.0, 1.0, 0.0])])
def test_a_batch_of_other_bags_is_refused(count, tags):
    with pytest.raises(ValueError, match=f"expected bags of {count} slices of one volume side by side"):
        VolumeClassificationLoss(count)(views_of([0.0] * 4), torch.tensor(tags))


def test_after_the_first_batches_it_does_not_wait_for_the_device(monkeypatch):
    loss, tags = VolumeClassificationLoss(2), torch.tensor([1.0, 1.0, 0.0, 0.0])
    views = views_of([2.0, -5.0, 0.0, 1.0])
    for _ in range(LOOKED_AT):
        before = loss(views, tags)

    def wait(tensor):
        raise AssertionError("a value was read, which waits for the device")

    for reading in ("__bool__", "item", "tolist"):
        monkeypatch.setattr(torch.Tensor, reading, wait)
    after = loss(views, tags)
    monkeypatch.undo()
    assert torch.equal(after, before)
