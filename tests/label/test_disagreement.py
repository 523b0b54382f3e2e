"""Branches that say the same do not disagree, however unsure they are."""

from __future__ import annotations

import math

import pytest
import torch

from bundle.label import disagreement_of_branches

INSIDE = torch.ones(1, 2, 2, 1)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_equal_maps_do_not_disagree(value):
    assert disagreement_of_branches(torch.full((3, 2, 2, 1), value), INSIDE) == pytest.approx(0, abs=1e-6)


def test_opposite_and_certain_branches_disagree_by_log_2_in_each_voxel():
    cams = torch.stack([torch.ones(2, 2, 1), torch.zeros(2, 2, 1)])
    assert disagreement_of_branches(cams, INSIDE) == pytest.approx(math.log(2))


def test_what_lies_outside_the_foreground_does_not_matter():
    cams = torch.stack([torch.ones(2, 2, 1), torch.zeros(2, 2, 1)])
    cams[:, 0] = 0.3
    inside = INSIDE.clone()
    inside[:, 1] = 0
    assert disagreement_of_branches(cams, inside) == pytest.approx(0, abs=1e-6)


def test_the_order_of_branches_does_not_matter():
    cams = torch.rand(3, 2, 2, 1, generator=torch.Generator().manual_seed(0))
    assert disagreement_of_branches(cams, INSIDE) == pytest.approx(
        disagreement_of_branches(cams.flip(0), INSIDE), rel=1e-5
    )


def test_one_branch_has_nobody_to_disagree_with():
    with pytest.raises(ValueError, match="needs two branches that have a modality, found 1"):
        disagreement_of_branches(torch.ones(1, 2, 2, 1), INSIDE)
