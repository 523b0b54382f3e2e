"""Volumes in patches: what a network of single voxels says is the same, however it is cut."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bundle.data.normalisation import SliceNormalization
from bundle.inferers import PatchProbabilityInferer, PatchTagInferer, ProbabilityInferer
from bundle.pooling import TopSharePooling
from tests.tiny import tiny_reader

WEIGHTS = (0.7, -0.4)


class EachVoxel(nn.Module):
    """A weighted sum of the modalities, in any number of dimensions; notes the shapes it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(image.shape))
        return sum(weight * image[:, k : k + 1] for k, weight in enumerate(WEIGHTS))


def volumes(*shape: int, count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    foreground = torch.zeros(count, 1, *shape)
    foreground[:, :, 1:-1, 2:-1] = 1
    return torch.randn(count, 2, *shape, generator=generator), foreground


def reader():
    return tiny_reader(TopSharePooling(0.1))


# in the plane and across: as large as a patch, larger, smaller (a thin volume)
@pytest.mark.parametrize("shape", [(8, 8, 4), (13, 13, 9), (13, 13, 2), (6, 6, 2), (6, 6, 9)])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_cut_into_patches_or_into_slices_it_says_the_same(shape, batch_size, overlap):
    image, foreground = volumes(*shape)
    network = EachVoxel()
    inferer = PatchProbabilityInferer(
        reader(), patch_size=(8, 8, 4), overlap=overlap, batch_size=batch_size, gate="none"
    )
    found = inferer(image, network, foreground)
    expected = ProbabilityInferer(reader(), gate="none")(image, EachVoxel(), foreground)
    assert found["cam"].shape == (1, 1, *shape)
    assert found["logits"].shape == (1, 1, shape[-1])
    for key in ("cam", "logits"):
        torch.testing.assert_close(found[key], expected[key])
    assert {seen[2:] for seen in network.seen} == {(8, 8, 4)}
    assert max(seen[0] for seen in network.seen) <= batch_size


def test_two_volumes_are_run_one_after_another():
    image, foreground = volumes(10, 10, 6, count=2)
    inferer = PatchProbabilityInferer(reader(), patch_size=(8, 8, 4), batch_size=2, gate="none")
    together = inferer(image, EachVoxel(), foreground)
    for index in range(2):
        part = slice(index, index + 1)
        alone = inferer(image[part], EachVoxel(), foreground[part])
        for key in ("cam", "logits"):
            torch.testing.assert_close(together[key][part], alone[key])


def test_a_map_is_cut_off_at_the_foreground_and_gated_by_its_slice():
    image, foreground = volumes(10, 10, 6)
    open_, gated = (
        PatchProbabilityInferer(reader(), patch_size=(8, 8, 4), gate=gate)(image, EachVoxel(), foreground)
        for gate in ("none", "probability")
    )
    assert not open_["cam"][foreground == 0].any()
    assert open_["cam"][foreground > 0].all()
    torch.testing.assert_close(gated["cam"], open_["cam"] * open_["logits"].sigmoid()[:, :, None, None])


def test_patches_are_normalised_as_in_training():
    image, foreground = volumes(8, 8, 4)
    given = {"patch_size": (8, 8, 4), "gate": "none"}
    found = PatchProbabilityInferer(reader(), normalise=SliceNormalization(), **given)(
        5 * image + 3, EachVoxel(), foreground
    )
    expected = PatchProbabilityInferer(reader(), **given)(
        SliceNormalization()(image), EachVoxel(), foreground
    )
    torch.testing.assert_close(found["cam"], expected["cam"])


def test_logits_for_tags_are_those_of_the_maps_slices():
    image, foreground = volumes(10, 10, 6, count=2)
    inferer = PatchTagInferer(reader(), patch_size=(8, 8, 4))
    logits = inferer(image, EachVoxel(), foreground)
    assert logits.shape == (2, 6, 1)
    expected = ProbabilityInferer(reader())(image, EachVoxel(), foreground)["logits"]
    torch.testing.assert_close(logits[..., 0], expected[:, 0])


@pytest.mark.parametrize("views", ["flip", ["0.9"]])
def test_views_are_refused_with_the_remedy(views):
    with pytest.raises(ValueError, match="average_views: expected none with a network of patches"):
        PatchProbabilityInferer(reader(), patch_size=(8, 8, 4), average_views=views)
