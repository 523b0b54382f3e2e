"""Evidence averaged over views comes back to where the slice had it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bundle.inferers import AveragedViews, CamInferer, GradCamInferer
from tests.tiny import tiny_network, tiny_reader, tiny_slices

EXACT = ["flip", "rotate"]


class Shift(nn.Module):
    """Adds what lies one pixel to the left: equivariant under nothing but the vertical flip."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image + image.roll(1, dims=-1)


def picture() -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("views", [[], EXACT, "flip,rotate"])
def test_a_network_that_works_pixel_by_pixel_is_left_as_it_is(views):
    image = picture()
    torch.testing.assert_close(AveragedViews(nn.Identity(), views)(image), image)


def test_flips_by_hand():
    # As it is and flipped up-down: from the left; flipped left-right: from the right, of three looks.
    image = picture()
    left, right = image.roll(1, dims=-1), image.roll(-1, dims=-1)
    torch.testing.assert_close(AveragedViews(Shift(), ["flip"])(image), image + (2 * left + right) / 3)


def test_averaged_over_quarter_turns_a_network_becomes_equivariant_to_them():
    network, image = AveragedViews(tiny_network(3).eval(), ["rotate"]), picture()
    with torch.no_grad():
        torch.testing.assert_close(network(image.rot90(1, (2, 3))), network(image).rot90(1, (2, 3)))


@pytest.mark.parametrize("zoom", [0.8, 1.25])
def test_zooming_in_and_out_comes_back_to_the_same_place(zoom):
    image = torch.zeros(1, 1, 32, 32)
    image[..., 14:20, 9:16] = 1
    image = nn.functional.avg_pool2d(image, 5, 1, 2)  # smooth, so that interpolation takes little away
    found = AveragedViews(nn.Identity(), [zoom])(image)
    assert (found - image).abs().max() < 0.06


def test_pixels_that_a_view_does_not_show_are_left_to_the_others():
    ones = torch.ones(1, 1, 16, 16)
    torch.testing.assert_close(AveragedViews(nn.Identity(), [2.0])(ones), ones)


def test_half_precision_is_averaged_in_single():
    network = AveragedViews(nn.Identity(), [*EXACT, 1.1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(picture().bfloat16()).dtype == torch.float32


def volume() -> tuple[torch.Tensor, torch.Tensor]:
    image, foreground, _ = tiny_slices(2, 5)
    return image.permute(1, 2, 3, 0)[None], foreground.permute(1, 2, 3, 0)[None]


def test_maps_and_logits_are_read_from_the_averaged_evidence():
    (image, foreground), network, reader = volume(), tiny_network(2).eval(), tiny_reader()
    found = CamInferer(reader, gate="none", average_views=["flip"])(image, network, foreground=foreground)
    slices, inside, _ = tiny_slices(2, 5)
    with torch.no_grad():
        evidence = AveragedViews(network, ["flip"])(slices)
    torch.testing.assert_close(found["logits"][0].T, reader.logits(evidence, inside))
    torch.testing.assert_close(found["cam"][0].permute(3, 0, 1, 2), reader.cams(evidence, inside))


@pytest.mark.parametrize("none", [(), [], ""])
def test_without_views_nothing_changes(none):
    (image, foreground), network = volume(), tiny_network(2).eval()
    plain = CamInferer(tiny_reader())(image, network, foreground=foreground)
    found = CamInferer(tiny_reader(), average_views=none)(image, network, foreground=foreground)
    assert torch.equal(found["cam"], plain["cam"])


def test_gradients_are_not_averaged():
    (image, foreground), network = volume(), tiny_network(2).eval()
    with pytest.raises(ValueError, match="GradCamInferer: expected a BranchEnsemble"):
        GradCamInferer(tiny_reader(), average_views=["flip"])(image, network, foreground=foreground)


@pytest.mark.parametrize("view", ["flop", 1, 0, -2, 5, "nan"])
def test_another_view_is_refused(view):
    with pytest.raises(ValueError, match="average_views: expected flip, rotate or zoom factors"):
        AveragedViews(nn.Identity(), [view])
