"""TorchScript reads the networks: what it gives is what they give, at any size."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from monai.networks.nets import BasicUNet

from bundle.networks import BranchEnsemble, CamDeepLabV3, CamUNet

BRANCHES = {
    "one level": partial(CamUNet, width=2, levels=1),
    "no level": partial(CamUNet, width=2, levels=0),
    "three levels, two heads": partial(CamUNet, width=2, levels=3, head_channels=2),
    "DeepLabv3": partial(CamDeepLabV3, width=2),
    "segmenter": partial(BasicUNet, spatial_dims=2, out_channels=1, features=(2, 2, 4, 8, 8, 2)),
}


@pytest.mark.parametrize("early_fusion", [False, True])
@pytest.mark.parametrize("name", BRANCHES)
def test_torchscript_gives_the_same_evidence(name, early_fusion):
    torch.manual_seed(0)
    network = BranchEnsemble(("t1", "t2"), BRANCHES[name], early_fusion).eval()
    scripted = torch.jit.script(network)
    for size in ((32, 32), (64, 32)):
        slices = torch.randn(2, 2, *size)
        torch.testing.assert_close(scripted(slices), network(slices), rtol=0, atol=0)


def test_torchscript_refuses_another_number_of_channels():
    scripted = torch.jit.script(BranchEnsemble(("t1", "t2"), BRANCHES["one level"]))
    with pytest.raises(torch.jit.Error, match=r"expected 2 channels \(t1, t2\), got 3"):
        scripted(torch.zeros(1, 3, 32, 32))
