"""SEAM's pixel correlation: refined maps are weighted means, and teach nothing but their own projections."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from bundle.networks import (
    BranchEnsemble,
    CamUNet,
    PixelCorrelationBranch,
    PixelCorrelationReadout,
    Readout,
)
from bundle.networks.pixel_correlation import refine
from tests.tiny import MODALITIES


def wrapped(head_channels: int = 1, in_channels: int = 1, **options) -> PixelCorrelationBranch:
    torch.manual_seed(0)
    branch = CamUNet(in_channels, head_channels, width=2, levels=1)
    branch.evidence.weight.data.abs_()[:-1] *= -1  # the last channel, tumour, is positive, so that maps are
    return PixelCorrelationBranch(branch, Readout(head_channels), **{"channels": 3, **options})


def weights_of(features: torch.Tensor) -> torch.Tensor:
    """[b, target, source]: a picture that is 1 at one pixel is refined to the weights of that pixel."""
    pixels = features.shape[-1]
    return refine(torch.eye(pixels, dtype=features.dtype).expand(len(features), -1, -1), features).transpose(
        1, 2
    )


def test_rows_of_the_affinity_sum_to_one():
    features = torch.randn(3, 5, 16, dtype=torch.float64)
    features[1, :, 4] = 0  # a pixel that resembles nothing, not even itself
    weights = weights_of(features)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 16, dtype=torch.float64))
    assert weights[1, 4, 4] == 1


def test_weights_by_hand():
    # Pixels (1, 0), (1, 1), (0, 2), (-1, 0): cosines of the first with all are 1, 0.7071, 0, -1 -> 0.
    features = torch.tensor([[[1.0, 1.0, 0.0, -1.0], [0.0, 1.0, 2.0, 0.0]]])
    half = 0.5**0.5
    expected = torch.tensor(
        [
            [1 / (1 + half), half / (1 + half), 0, 0],
            [half / (1 + 2 * half), 1 / (1 + 2 * half), half / (1 + 2 * half), 0],
            [0, half / (1 + half), 1 / (1 + half), 0],
            [0, 0, 0, 1],
        ]
    )
    torch.testing.assert_close(weights_of(features)[0], expected)


def test_the_length_of_features_does_not_matter():
    features, maps = torch.randn(2, 3, 9, dtype=torch.float64), torch.rand(2, 1, 9, dtype=torch.float64)
    lengths = torch.rand(2, 1, 9, dtype=torch.float64) + 0.1
    torch.testing.assert_close(refine(maps, features * lengths), refine(maps, features))


def test_it_is_differentiable_wherever_features_differ():
    features = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    maps = torch.rand(1, 1, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: refine(maps, x), [features])


def test_half_precision_is_left_for_the_affinity():
    features, maps = torch.randn(1, 4, 16), torch.rand(1, 1, 16)
    expected = refine(maps, features.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        found = refine(maps, features.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


# 240 x 240 at stride 4: (60 * 60) ** 2 * 4 bytes = 51.84 MB a slice, 829 MB for a batch of 16; stride 8: 52 MB.
@pytest.mark.parametrize(("stride", "megabytes"), [(4, 829), (8, 52)])
def test_the_backward_pass_keeps_one_affinity(stride, megabytes):
    pixels = (240 // stride) ** 2
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        refine(torch.rand(1, 1, pixels), torch.randn(1, 2, pixels, requires_grad=True))
    affinities = [size for size in kept.values() if size >= 4 * pixels**2]
    assert len(affinities) == 1
    assert round(16 * affinities[0] / 1e6) == megabytes


@pytest.mark.parametrize("head_channels", [1, 2])
@pytest.mark.parametrize("size", [(16, 16), (24, 40)])
def test_one_refined_map_between_0_and_1_follows_the_evidence(head_channels, size):
    network = wrapped(head_channels)
    found = network(torch.randn(3, 1, *size))
    assert found.shape == (3, head_channels + 1, *size)
    refined = found[:, -1].detach()
    assert 0 <= refined.min() < refined.max() <= 1 + 1e-6


def test_the_evidence_is_the_branchs_own():
    network, image = wrapped(2).eval(), torch.randn(2, 1, 16, 16)
    assert torch.equal(network(image)[:, :2], network.branch(image))


def test_a_slice_without_positive_evidence_refines_to_nothing():
    network = wrapped().eval()
    nn.init.zeros_(network.branch.evidence.weight)
    found = network(torch.randn(2, 1, 16, 16))
    assert not found.any()
    found[:, -1].sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_the_refined_map_teaches_its_projections_only():
    network = wrapped(2)
    network(torch.randn(2, 1, 16, 16))[:, -1].square().sum().backward()
    assert not any(
        parameter.grad.any() for parameter in network.branch.parameters() if parameter.grad is not None
    )
    assert network.embedding.weight.grad.any()
    assert all(projection.weight.grad.any() for projection in network.projections)


def test_which_channel_is_refined_is_the_readouts_to_say():
    both = [wrapped(2).eval() for _ in range(2)]
    both[1].readout = Readout(2, tumour_channel_only=True)
    image = torch.randn(1, 1, 16, 16)
    difference, tumour = (network(image)[:, -1] for network in both)
    assert not torch.allclose(difference, tumour)


def test_mixed_precision_gives_one_tensor():
    network = wrapped()
    with torch.autocast("cpu", torch.bfloat16):
        found = network(torch.randn(2, 1, 16, 16))
    assert found.isfinite().all()


def test_a_finer_grid_is_refused():
    with pytest.raises(
        ValueError, match="stride: expected at least 4, since the affinity grows with the fourth"
    ):
        wrapped(stride=2)


@pytest.mark.parametrize("early_fusion", [False, True])
def test_an_ensemble_wraps_each_of_its_branches(early_fusion):
    wrap = partial(PixelCorrelationBranch, readout=Readout(2), channels=2)
    branch = partial(CamUNet, head_channels=2, width=2, levels=1)
    network = BranchEnsemble(MODALITIES[:3], branch, early_fusion, wrap)
    image = torch.randn(2, 3, 16, 16)
    evidence = network.eval()(image)
    assert evidence.shape == (2, 3 * (1 if early_fusion else 3), 16, 16)
    refined = PixelCorrelationReadout(Readout(2)).refined(evidence)
    inputs = [image] if early_fusion else image.split(1, dim=1)
    for n, (branch, part) in enumerate(zip(network.branches, inputs, strict=True)):
        torch.testing.assert_close(refined[:, n], branch(part)[:, -1])


# evidence of two branches: logit, refined; and healthy, tumour, refined
ONE = torch.tensor([1.0, 0.1, 2.0, 0.2]).reshape(1, 4, 1, 1)
TWO = torch.tensor([1.0, 4.0, 0.1, 10.0, 30.0, 0.2]).reshape(1, 6, 1, 1)


@pytest.mark.parametrize(
    ("readout", "evidence", "maps", "logits"),
    [
        (Readout(1), ONE, [1.0, 2.0], [1.0, 2.0]),
        (Readout(2), TWO, [3.0, 20.0], [3.0, 20.0]),
        (Readout(2, tumour_channel_only=True), TWO, [4.0, 30.0], [3.0, 20.0]),
    ],
)
def test_maps_and_logits_leave_out_what_refined_gives(readout, evidence, maps, logits):
    reader = PixelCorrelationReadout(readout)
    assert reader.maps(evidence).flatten().tolist() == maps
    assert reader.logits(evidence[..., 0, 0]).flatten().tolist() == logits
    torch.testing.assert_close(reader.refined(evidence).flatten(), torch.tensor([0.1, 0.2]))
    assert reader.refined(evidence).shape == reader.maps(evidence).shape == (1, 2, 1, 1)


def test_evidence_without_refined_maps_is_refused():
    with pytest.raises(ValueError, match=r"3 channels a branch .* got 4 in all; wrap the branches in"):
        PixelCorrelationReadout(Readout(2)).maps(torch.randn(1, 4, 4, 4))
