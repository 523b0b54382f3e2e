"""Grad-CAM equals CAM where it should, works in batches, and leaves no hook behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bundle.inferers import CamInferer, CamReader, GradCamInferer, GradCamPlusPlusInferer
from bundle.networks import Readout
from bundle.pooling import AveragePooling, LogSumExpPooling, RankPooling, TopSharePooling
from tests.tiny import tiny_network, tiny_reader, tiny_slices

INFERERS = [GradCamInferer, GradCamPlusPlusInferer]


def volume(branches: int = 2, slices: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    image, foreground, _ = tiny_slices(branches, slices, dtype=torch.float64)
    return image.permute(1, 2, 3, 0)[None], foreground.permute(1, 2, 3, 0)[None]


def run(inferer, network: nn.Module, branches: int = 2) -> dict[str, torch.Tensor]:
    image, foreground = volume(branches)
    return inferer(image, network, foreground)


@pytest.mark.parametrize("foreground_only", [True, False])
@pytest.mark.parametrize(("head_channels", "tumour_channel_only"), [(1, False), (2, False), (2, True)])
@pytest.mark.parametrize("branches", [1, 3])
@pytest.mark.parametrize("pooling", [AveragePooling, RankPooling, LogSumExpPooling, TopSharePooling])
def test_grad_cam_is_cam_since_the_head_is_linear_and_poolings_pass_a_constant_on(
    pooling, branches, head_channels, tumour_channel_only, foreground_only
):
    network = tiny_network(branches, width=4, head_channels=head_channels).double().eval()
    pooling = pooling(foreground_only=foreground_only)
    readout = Readout(head_channels, tumour_channel_only)
    reader = CamReader(readout, pooling, foreground_only=foreground_only, epsilon=1e-12)
    cam = run(CamInferer(reader, gate="none"), network, branches)
    grad_cam = run(GradCamInferer(reader, gate="none"), network, branches)
    torch.testing.assert_close(grad_cam["cam"], cam["cam"], rtol=0, atol=1e-7)
    torch.testing.assert_close(grad_cam["logits"], cam["logits"])
    assert cam["cam"].any()


def test_grad_cam_plus_plus_is_another_map():
    network = tiny_network(width=4).double().eval()
    kinds = (CamInferer, GradCamPlusPlusInferer)
    cam, other = (run(kind(tiny_reader(RankPooling(0.9)), gate="none"), network)["cam"] for kind in kinds)
    assert (cam - other).abs().max() > 0.01


def test_grad_cam_plus_plus_follows_its_equations():
    # Eq. 19 with d^n Y / dA^n = exp(z) g^n: alpha = g^2 / (2 g^2 + sum(A) g^3), weight = sum(alpha relu(g)).
    generator = torch.Generator().manual_seed(0)
    feature = torch.rand(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    gradient = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    weight = torch.zeros(2, 3, dtype=torch.float64)
    for b in range(2):
        for f in range(3):
            a, g = feature[b, f], gradient[b, f]
            weight[b, f] = (g**2 / (2 * g**2 + a.sum() * g**3) * g.relu()).sum()
    torch.testing.assert_close(GradCamPlusPlusInferer(tiny_reader()).weigh(feature, gradient), weight)


def test_a_feature_without_gradient_weighs_nothing():
    feature, gradient = torch.rand(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    assert not GradCamPlusPlusInferer(tiny_reader()).weigh(feature, gradient).any()


@pytest.mark.parametrize("kind", INFERERS)
def test_a_batch_gives_the_maps_of_its_slices_one_by_one(kind):
    network = tiny_network(width=4).double().eval()
    batched, single = (run(kind(tiny_reader(), batch_size=size, gate="none"), network) for size in (5, 1))
    assert batched["cam"].any()
    for key in ("cam", "logits"):
        torch.testing.assert_close(batched[key], single[key])


@pytest.mark.parametrize("kind", INFERERS)
def test_it_works_under_no_grad_and_leaves_no_gradient(kind):
    network = tiny_network().double().eval()
    with torch.no_grad():
        found = run(kind(tiny_reader()), network)
    assert not found["cam"].requires_grad
    assert not found["logits"].requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("kind", INFERERS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_single_and_half_precision_give_single(kind, precision):
    image, foreground = (tensor.float() for tensor in volume())
    found = kind(tiny_reader(), precision=precision)(image, tiny_network().eval(), foreground)
    assert found["cam"].dtype == found["logits"].dtype == torch.float32


def count_hooks(network: nn.Module) -> int:
    return sum(len(layer._forward_pre_hooks) + len(layer._forward_hooks) for layer in network.modules())


@pytest.mark.parametrize("kind", INFERERS)
def test_hooks_are_released(kind):
    network = tiny_network().double().eval()
    run(kind(tiny_reader()), network)
    assert count_hooks(network) == 0


@pytest.mark.parametrize("kind", INFERERS)
def test_hooks_are_released_if_the_network_raises(kind):
    class Broken(nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("broken on purpose")

    network = tiny_network().double().eval()
    network.branches[1].head = Broken()  # raises after the first branch's hook has fired
    with pytest.raises(RuntimeError, match="broken on purpose"):
        run(kind(tiny_reader()), network)
    assert count_hooks(network) == 0


def test_a_network_without_branches_is_refused():
    with pytest.raises(ValueError, match=r"expected a BranchEnsemble .* got Conv2d; use CamInferer"):
        run(GradCamInferer(tiny_reader()), nn.Conv2d(2, 2, 1).double())
