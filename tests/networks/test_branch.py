"""What every branch promises; a new one is covered as soon as it is exported."""

from __future__ import annotations

import inspect
from functools import partial

import pytest
import torch
from torch import nn

import bundle.networks
from bundle.equivariance import WarpPolicy
from bundle.inferers import CamInferer, CamReader, GradCamInferer, GradCamPlusPlusInferer, TwoViewInferer
from bundle.networks import (
    BranchEnsemble,
    CamBranch,
    CamUNet,
    PixelCorrelationBranch,
    PixelCorrelationReadout,
    Readout,
    bilinear_to,
)
from bundle.pooling import AveragePooling, RankPooling
from tests.tiny import MODALITIES, tiny_loss, tiny_slices

BACKBONES = [
    item
    for item in (getattr(bundle.networks, name) for name in bundle.networks.__all__)
    if inspect.isclass(item) and issubclass(item, CamBranch)
    if item not in (CamBranch, PixelCorrelationBranch)
]
CASES = [(item, refined) for item in BACKBONES for refined in (False, True)]
every_branch = pytest.mark.parametrize(
    ("backbone", "refined"), CASES, ids=[f"{item.__name__}{'+PCM' * refined}" for item, refined in CASES]
)
either_head = pytest.mark.parametrize("head_channels", [1, 2])


every_reading = pytest.mark.parametrize(
    ("head_channels", "tumour_channel_only"), [(1, False), (2, False), (2, True)]
)


def readout_of(head_channels: int, refined: bool, tumour_channel_only: bool = False) -> Readout:
    readout = Readout(head_channels, tumour_channel_only)
    return PixelCorrelationReadout(readout) if refined else readout


def ensemble(
    backbone: type[CamBranch],
    refined: bool,
    head_channels: int = 1,
    branches: int = 2,
    early_fusion: bool = False,
) -> BranchEnsemble:
    torch.manual_seed(0)
    branch = partial(backbone, head_channels=head_channels, width=2)
    wrap = partial(PixelCorrelationBranch, readout=Readout(head_channels), channels=2) if refined else None
    return BranchEnsemble(MODALITIES[:branches], branch, early_fusion, wrap)


@every_branch
@either_head
@pytest.mark.parametrize("early_fusion", [False, True])
def test_it_trains_two_steps(backbone, refined, head_channels, early_fusion):
    network = ensemble(backbone, refined, head_channels, early_fusion=early_fusion).train()
    reader = CamReader(readout_of(head_channels, refined), RankPooling())
    inferer, loss = TwoViewInferer(WarpPolicy(), reader), tiny_loss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    image, foreground, tags = tiny_slices()
    before = {name: value.clone() for name, value in network.named_parameters()}
    for _ in range(2):
        optimizer.zero_grad()
        value = loss(inferer(image, network, foreground), tags)
        value.backward()
        optimizer.step()
        assert value.isfinite()
    moved = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    assert {name for name in before if name.endswith("evidence.weight")} <= moved
    assert all(value.isfinite().all() for value in network.state_dict().values())


@every_branch
@either_head
def test_evidence_is_what_lies_behind_the_last_features(backbone, refined, head_channels):
    branch = ensemble(backbone, refined, head_channels).branches[0].eval()
    image = torch.randn(2, 1, 16, 16)
    features = branch.features(image)
    assert tuple(feature.shape[1] for feature in features) == branch.feature_channels
    sides = [feature.shape[-1] for feature in features]
    assert sides == sorted(sides)
    evidence = branch.to_evidence(features[-1], image.shape[-2:])
    assert evidence.shape == (2, head_channels + refined, 16, 16)
    torch.testing.assert_close(branch(image)[:, :head_channels], evidence[:, :head_channels])
    assert branch.evidence.in_channels == branch.feature_channels[-1]
    assert branch.evidence.bias is None  # it would shift CAM, not Grad-CAM


@every_branch
@every_reading
@pytest.mark.parametrize("pooling", [AveragePooling, RankPooling])
@pytest.mark.parametrize("early_fusion", [False, True])
def test_grad_cam_is_cam(backbone, refined, head_channels, tumour_channel_only, pooling, early_fusion):
    network = ensemble(backbone, refined, head_channels, early_fusion=early_fusion).double().eval()
    reader = CamReader(readout_of(head_channels, refined, tumour_channel_only), pooling(), epsilon=1e-12)
    image, foreground, _ = tiny_slices(dtype=torch.float64)
    volume, inside = (tensor.permute(1, 2, 3, 0)[None] for tensor in (image, foreground))
    cam, grad_cam = (
        kind(reader, gate="none")(volume, network, inside) for kind in (CamInferer, GradCamInferer)
    )
    torch.testing.assert_close(grad_cam["cam"], cam["cam"], rtol=0, atol=1e-6)
    torch.testing.assert_close(grad_cam["logits"], cam["logits"])
    assert cam["cam"].any()
    other = GradCamPlusPlusInferer(reader, gate="none")(volume, network, inside)["cam"]
    assert other.shape == cam["cam"].shape
    assert other.isfinite().all()


def test_resampling_and_a_1x1_convolution_commute():
    features, layer = torch.randn(2, 3, 4, 5, dtype=torch.float64), nn.Conv2d(3, 2, 1, bias=False).double()
    size = torch.Size([13, 16])
    torch.testing.assert_close(bilinear_to(layer(features), size), layer(bilinear_to(features, size)))


def test_maps_that_have_their_size_are_left_as_they_are():
    maps = torch.randn(1, 1, 4, 5)
    assert bilinear_to(maps, torch.Size([4, 5])) is maps


def test_trained_u_nets_of_before_still_load():
    # The names of models/model.pt, which the branches' common part must not change.
    names = {name.split(".")[0] for name in CamUNet(width=2).state_dict()}
    assert names == {"encoder", "decoder", "head", "evidence"}
    assert "decoder.2.3.weight" in CamUNet(width=2).state_dict()
