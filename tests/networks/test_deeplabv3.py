"""DeepLabv3 is the published one, layer by layer, at any width and number of input channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bundle.networks import CamDeepLabV3

SMALL = {"width": 2}


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_trunk_is_resnet50():
    # torchvision's resnet50 has 25,557,032 parameters, 2048 * 1000 + 1000 of them in fc; for one input channel
    # instead of three the 7x7 stem has 2 * 64 * 49 fewer.
    assert count(CamDeepLabV3(3).trunk) == 25_557_032 - 2_049_000
    assert count(CamDeepLabV3(1).trunk) == 25_557_032 - 2_049_000 - 2 * 64 * 49


def test_the_pyramid_has_its_five_parts_and_their_projection():
    # 2048 -> 256: 1x1 524,288 + 512 of batch normalisation, three 3x3 of 4,718,592 + 512, pooled 524,288 + 256 bias;
    # projection 1280 -> 256: 327,680 + 512; evidence 256.
    expected = 524_288 + 512 + 3 * (4_718_592 + 512) + 524_288 + 256 + 327_680 + 512 + 256
    network = CamDeepLabV3()
    assert count(network.pyramid) + count(network.evidence) == expected
    rates = [module.dilation[0] for module in network.pyramid.modules() if isinstance(module, nn.Conv2d)]
    assert rates == [1, 12, 24, 36, 1, 1]


@pytest.mark.parametrize(("output_stride", "rates"), [(8, [1, 1, 1, 2, 2, 4]), (16, [1, 1, 1, 1, 1, 2])])
def test_stride_is_traded_for_dilation(output_stride, rates):
    network = CamDeepLabV3(width=2, output_stride=output_stride).eval()
    trunk = network.trunk
    found = [
        block.conv2.dilation[0] for layer in (trunk.layer2, trunk.layer3, trunk.layer4) for block in layer[:2]
    ]
    assert found == rates
    with torch.no_grad():
        deep, last = network.features(torch.randn(1, 1, 64, 96))
    assert deep.shape[-2:] == last.shape[-2:] == (64 // output_stride, 96 // output_stride)


def test_dilated_weights_see_what_strided_ones_saw():
    # A dilated layer computes the strided one's features, and others between them: every second one agrees.
    torch.manual_seed(0)
    dense, sparse = CamDeepLabV3(width=2, output_stride=8), CamDeepLabV3(width=2, output_stride=16)
    sparse.load_state_dict(dense.state_dict())
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        x = image
        for name in ("conv1", "bn1", "act", "maxpool", "layer1", "layer2"):
            x = getattr(dense.eval().trunk, name)(x)
        torch.testing.assert_close(
            dense.trunk.layer3(x)[..., ::2, ::2], sparse.eval().trunk.layer3(x), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("in_channels", [1, 4])
@pytest.mark.parametrize("head_channels", [1, 2])
@pytest.mark.parametrize("size", [(32, 32), (17, 30)])
def test_evidence_has_the_size_of_the_slice(in_channels, head_channels, size):
    network = CamDeepLabV3(in_channels, head_channels, **SMALL)
    assert network(torch.randn(2, in_channels, *size)).shape == (2, head_channels, *size)


def test_a_batch_of_one_trains():
    network = CamDeepLabV3(**SMALL).train()
    network(torch.randn(1, 1, 16, 16)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_the_image_level_branch_sees_the_whole_slice():
    torch.manual_seed(0)
    image = torch.randn(1, 1, 128, 128, requires_grad=True)
    CamDeepLabV3(**SMALL).eval()(image)[..., 0, 0].sum().backward()
    assert image.grad[..., -16:, -16:].any()


def test_half_precision_runs():
    with torch.autocast("cpu", torch.bfloat16):
        assert CamDeepLabV3(**SMALL)(torch.randn(2, 1, 32, 32)).isfinite().all()


def test_slices_that_shrink_to_a_point_are_refused():
    with pytest.raises(ValueError, match=r"at least 16 pixels a side \(2 x output stride\), got 8x32"):
        CamDeepLabV3(**SMALL)(torch.randn(2, 1, 8, 32))


def test_another_output_stride_is_refused():
    with pytest.raises(ValueError, match="output_stride: expected 8 or 16, got 4"):
        CamDeepLabV3(output_stride=4, **SMALL)
