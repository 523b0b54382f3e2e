"""The U-Net is the paper's, layer by layer, and says what sizes it takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bundle.networks import CamUNet


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def multiplications(network: nn.Module, side: int) -> int:
    """Multiply-adds of all convolutions for one slice, counted without computing them."""
    counts = []

    def count(layer: nn.Conv2d, _, output: torch.Tensor) -> None:
        counts.append(output[0].numel() * layer.in_channels * layer.kernel_size[0] ** 2)

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    network.to("meta")(torch.empty(1, 1, side, side, device="meta"))
    return sum(counts)


# A 3x3 convolution a -> b with bias and batch normalisation has 9ab + 3b parameters, so at width 64:
# inc 768 + 37,056; down 74,112 + 147,840, 295,680 + 590,592, 590,592 + 590,592;
# up 590,208 + 147,840, 147,648 + 37,056, 73,920 + 37,056; head 37,056; evidence 64 * 2 = 128.
@pytest.mark.parametrize(("width", "parameters"), [(64, 3_398_144), (16, 213_632)])
def test_the_papers_network_has_its_number_of_parameters(width, parameters):
    assert count_parameters(CamUNet(1, head_channels=2, width=width, levels=3)) == parameters


def test_the_papers_network_costs_23_point_4_billion_multiplications_a_slice():
    assert multiplications(CamUNet(head_channels=2), 240) == pytest.approx(23.4e9, rel=0.005)


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
@pytest.mark.parametrize("head_channels", [1, 2])
def test_evidence_has_the_size_of_the_slice(levels, head_channels):
    network = CamUNet(3, head_channels=head_channels, width=2, levels=levels)
    assert network(torch.randn(2, 3, 16, 24)).shape == (2, head_channels, 16, 24)


def test_without_pooling_evidence_sees_seven_pixels_a_side():
    torch.manual_seed(0)
    network = CamUNet(width=16, levels=0).eval()
    image = torch.randn(1, 1, 16, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(image)[0, 0, 8, 8], image)
    rows, columns = gradient[0, 0].nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 11, 5, 11)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_image_and_a_constant_may_be_its_last_features_and_say_nothing_at_first(channels):
    torch.manual_seed(0)
    network = CamUNet(channels, width=2, levels=1, intensity=True).eval()
    image = torch.randn(2, channels, 8, 8)
    features = network.features(image)
    assert [feature.shape[1] for feature in features] == list(network.feature_channels)
    assert torch.equal(features[-1][:, -1 - channels : -1], image)
    assert torch.equal(features[-1][:, -1], torch.ones(2, 8, 8))
    without = nn.functional.conv2d(features[-1][:, :2], network.evidence.weight[:, :2])
    torch.testing.assert_close(network(image), without)


def test_evidence_is_a_1x1_convolution_without_bias():
    layer = CamUNet(width=2, levels=1).evidence
    assert layer.kernel_size == (1, 1)
    assert layer.bias is None


def test_weights_start_xavier_normal_and_biases_at_zero():
    torch.manual_seed(0)
    layer = CamUNet(width=64).decoder[0][0]  # 512 -> 128: Xavier-normal SD is sqrt(2 / (9 * 640))
    assert layer.weight.std().item() == pytest.approx((2 / (9 * (512 + 128))) ** 0.5, rel=0.01)
    assert not layer.bias.any()


# From the last layer back: 7 pixels by three 3x3 convolutions; each level halves them (4), adds 4 by two convolutions,
# and doubles what the deepest leaves, plus 4 again: 1 level 2 * 8 + 4 = 20; 2 levels 2 * (2 * 9 + 4) + 4 = 48;
# 3 levels 2 * 48 + 4 = 100. Where halving meets the grid otherwise it is one pixel of that level less.
@pytest.mark.parametrize(("levels", "reach"), [(1, 20), (2, 48), (3, 100)])
def test_fewer_levels_see_less(levels, reach):
    torch.manual_seed(0)
    network = CamUNet(width=4, levels=levels).double().eval()
    for weight in network.parameters():
        weight.data.abs_()  # so that nothing cancels
    seen = []
    for row in range(80, 80 + 2**levels):
        image = torch.rand(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
        network(image)[0, 0, row, 80].backward()
        seen.append(int((image.grad[0, 0] != 0).any(dim=1).sum()))
    assert max(seen) == reach


def test_dropout_is_off_by_default_and_in_evaluation():
    torch.manual_seed(0)
    image = torch.randn(2, 1, 16, 16)
    plain, dropping = CamUNet(width=4, levels=1), CamUNet(width=4, levels=1, dropout=0.5)
    assert torch.equal(plain(image), plain(image))
    assert not torch.equal(dropping(image), dropping(image))
    assert torch.equal(dropping.eval()(image), dropping(image))


def test_sides_that_cannot_be_halved_often_enough_are_refused():
    with pytest.raises(ValueError, match=r"divisible by 8 \(3 levels\), got 16x20"):
        CamUNet(width=2)(torch.randn(1, 1, 16, 20))


def test_a_negative_number_of_poolings_is_refused():
    with pytest.raises(ValueError, match="levels: expected 0 poolings or more, got -1"):
        CamUNet(levels=-1)
