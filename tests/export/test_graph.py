"""The graph computes what inference computes of a slice: it is the inferer's and the fusion's own code."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from bundle.data.normalisation import SliceNormalization
from bundle.export import FusedMapGraph
from bundle.inferers import (
    CamInferer,
    FuseMapsd,
    GradCamInferer,
    GradCamPlusPlusInferer,
    PatchProbabilityInferer,
    ProbabilityInferer,
)
from bundle.inferers.fusion import FUSIONS
from tests.tiny import MODALITIES, tiny_network, tiny_reader, tiny_slices

INFERERS = {
    "cam": partial(CamInferer, gate="none"),
    "cam by probability": partial(CamInferer, gate="probability"),
    "cam by class of normalised slices": partial(CamInferer, normalise=SliceNormalization(), gate="class"),
    "probability": partial(ProbabilityInferer, gate="none"),
}


def network_with_trust(*trust: float):
    network = tiny_network(len(trust))
    network.trust.copy_(torch.tensor(trust))
    return network


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("inferer", INFERERS.values(), ids=INFERERS.keys())
def test_it_gives_the_maps_of_the_inferer_and_of_the_fusion(inferer, fusion):
    network, inferer = network_with_trust(3.0, 1.0, 0.0), inferer(tiny_reader())
    image, foreground, _ = tiny_slices(3)
    maps, fused = FusedMapGraph(network, inferer, fusion, MODALITIES[:3])(image, foreground)
    volume = image.permute(1, 2, 3, 0)[None], foreground.permute(1, 2, 3, 0)[None]
    pred = {name: value[0] for name, value in inferer(volume[0], network, volume[1]).items()}
    expected = FuseMapsd(rule=fusion)({"pred": pred})["cams"].permute(3, 0, 1, 2)
    assert expected.max() > 0
    torch.testing.assert_close(torch.cat([maps, fused], dim=1), expected)


def test_it_predicts_and_does_not_train():
    assert not FusedMapGraph(tiny_network(), CamInferer(tiny_reader()), "mean", MODALITIES[:2]).training


@pytest.mark.parametrize("inferer", [GradCamInferer, GradCamPlusPlusInferer])
def test_gradients_are_no_graph(inferer):
    with pytest.raises(
        ValueError, match=rf"got {inferer.__name__}, .* set method to bundle.inferers.CamInferer"
    ):
        FusedMapGraph(tiny_network(), inferer(tiny_reader()), "mean", MODALITIES[:2])


def test_patches_are_no_slices():
    with pytest.raises(ValueError, match=r"got PatchProbabilityInferer, which .* needs a volume"):
        FusedMapGraph(
            tiny_network(), PatchProbabilityInferer(tiny_reader(), (8, 8, 8)), "mean", MODALITIES[:2]
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"average_views": ["flip"]}, r"expected no average_views, got \['flip'\]"),
        ({"precision": "auto"}, "expected precision float32, got 'auto'"),
    ],
)
def test_what_a_file_cannot_hold_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FusedMapGraph(tiny_network(), CamInferer(tiny_reader(), **options), "mean", MODALITIES[:2])


def test_an_unknown_fusion_names_the_nearest():
    with pytest.raises(ValueError, match="fusion: 'maximal' is unknown; did you mean maximum"):
        FusedMapGraph(tiny_network(), CamInferer(tiny_reader()), "maximal", MODALITIES[:2])
