"""Refined maps are read where a pixel correlation module wrote them, like any other map."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from bundle.equivariance import WarpPolicy
from bundle.inferers import CamInferer, CamReader, RefinedCamInferer, TwoViewInferer
from bundle.losses import (
    AdaptiveMinPoolingLoss,
    ClassificationLoss,
    EquivarianceLoss,
    EquivariantCrossLoss,
    JointLoss,
)
from bundle.networks import (
    BranchEnsemble,
    CamUNet,
    PixelCorrelationBranch,
    PixelCorrelationReadout,
    Readout,
)
from bundle.pooling import RankPooling
from tests.tiny import MODALITIES, tiny_network, tiny_reader, tiny_slices

READOUT = PixelCorrelationReadout(Readout(1))


def seam_network(branches: int = 2) -> BranchEnsemble:
    torch.manual_seed(0)
    wrap = partial(PixelCorrelationBranch, readout=Readout(1), channels=3)
    network = BranchEnsemble(MODALITIES[:branches], partial(CamUNet, width=4, levels=1), wrap=wrap)
    for branch in network.branches:
        branch.evidence.weight.data.abs_()  # maps that are not empty
    return network


def read(kind, reader: CamReader, network: BranchEnsemble, **options):
    image, foreground, _ = tiny_slices()
    volume, inside = (tensor.permute(1, 2, 3, 0)[None] for tensor in (image, foreground))
    return kind(reader, gate="none", **options)(volume, network.eval(), inside), inside


def test_it_emits_the_refined_maps_inside_the_foreground_from_0_to_1():
    reader, network = CamReader(READOUT, RankPooling()), seam_network()
    found, inside = read(RefinedCamInferer, reader, network)
    cam, _ = read(CamInferer, reader, network)
    assert found["cam"].shape == (1, 2, 16, 16, 4)
    assert not (found["cam"] * (1 - inside)).any()
    assert found["cam"].min() == 0
    assert found["cam"].max() == pytest.approx(1)
    assert (found["cam"] - cam["cam"]).abs().max() > 0.1
    torch.testing.assert_close(found["logits"], cam["logits"])


def test_half_precision_gives_single():
    found, _ = read(
        RefinedCamInferer, CamReader(READOUT, RankPooling()), seam_network(), precision="bfloat16"
    )
    assert found["cam"].dtype == torch.float32
    assert found["cam"].isfinite().all()


def test_evidence_without_refined_maps_is_refused():
    with pytest.raises(ValueError, match=r"whose readout is a PixelCorrelationReadout, got Readout; merge"):
        read(RefinedCamInferer, tiny_reader(), tiny_network())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_part_of_seam_learns_what_it_should(precision):
    network, policy = seam_network().train(), WarpPolicy(["scale"], scale_range=(0.3, 0.3))
    loss = JointLoss(
        {
            name: {"loss": term, "weight": 1.0}
            for name, term in {
                "classification": ClassificationLoss(),
                "er": EquivarianceLoss(norm="l1"),
                "ecr": EquivariantCrossLoss(READOUT),
                "min_pool": AdaptiveMinPoolingLoss(READOUT),
            }.items()
        }
    )
    image, foreground, tags = tiny_slices()
    inferer = TwoViewInferer(policy, CamReader(READOUT, RankPooling()), precision=precision)
    loss(inferer(image, network, foreground), tags).backward()
    assert all(value > 0 for value in loss.values.values())
    for branch in network.branches:
        for part in (branch.evidence, branch.embedding, *branch.projections, branch.branch.encoder[0][0]):
            assert part.weight.grad.isfinite().all()
            assert part.weight.grad.any()
