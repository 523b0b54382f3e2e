"""Each pooling against values worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from bundle.pooling import AveragePooling, LogSumExpPooling, RankPooling, TopSharePooling

EVIDENCE = torch.tensor([[1.0, 3.0], [5.0, 7.0]])[None, None]
WHOLE, TOP_ROW = torch.ones(1, 1, 2, 2), torch.tensor([[1.0, 1.0], [0.0, 0.0]])[None, None]
HALF_A_PIXEL = 0.5 ** (4 / 1000)  # decay per thousandth that is 1/2 per pixel of four


@pytest.mark.parametrize(
    ("pooling", "whole", "top_row"),
    [
        (AveragePooling(), 4.0, 2.0),  # (1 + 3 + 5 + 7) / 4; (1 + 3) / 2
        # whole: weights 1, 1/2, 1/4, 1/8: (7 + 5/2 + 3/4 + 1/8) / (15/8); of two: 1, 1/4: (3 + 1/4) / (5/4)
        (RankPooling(HALF_A_PIXEL), 10.375 / 1.875, 2.6),
        (TopSharePooling(0.5), 6.0, 3.0),  # (7 + 5) / 2; 3
        (TopSharePooling(0.01), 7.0, 3.0),  # at least one pixel: the maximum
        # log((e + e^3 + e^5 + e^7) / 4); log((e + e^3) / 2)
        (LogSumExpPooling(1.0), math.log((math.e + math.e**3 + math.e**5 + math.e**7) / 4), None),
    ],
)
def test_values_by_hand(pooling, whole, top_row):
    assert pooling(EVIDENCE, WHOLE).item() == pytest.approx(whole, rel=1e-6)
    expected = math.log((math.e + math.e**3) / 2) if top_row is None else top_row
    assert pooling(EVIDENCE, TOP_ROW).item() == pytest.approx(expected, rel=1e-6)


def test_over_the_whole_slice_the_foreground_does_not_matter():
    assert AveragePooling(foreground_only=False)(EVIDENCE, TOP_ROW).item() == 4.0


@pytest.mark.parametrize("pooling", [RankPooling(1.0), LogSumExpPooling(1e-4), TopSharePooling(1.0)])
def test_at_one_end_every_pooling_is_the_average(pooling):
    evidence = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    inside = torch.ones(2, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(pooling(evidence, inside), evidence.mean((2, 3)), rtol=0, atol=1e-3)


@pytest.mark.parametrize("pooling", [RankPooling(1e-9), LogSumExpPooling(1e4), TopSharePooling(1e-6)])
def test_at_the_other_end_every_pooling_is_the_maximum(pooling):
    evidence = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    inside = torch.ones(2, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(pooling(evidence, inside), evidence.amax((2, 3)), rtol=0, atol=1e-3)


def test_rank_weights_depend_on_the_share_of_the_region_not_on_resolution():
    coarse = torch.randn(1, 1, 20, 20, dtype=torch.float64)
    fine = coarse.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    pooled = [RankPooling()(evidence, torch.ones_like(evidence)).item() for evidence in (coarse, fine)]
    assert pooled[0] == pytest.approx(pooled[1], abs=0.02)


def test_the_default_decay_is_0_996_a_pixel_on_3200_pixels():
    assert RankPooling().decay_per_mille == pytest.approx(0.996 ** (3200 / 1000), abs=5e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RankPooling(0.0), r"decay_per_mille: expected a number in \(0, 1\], got 0"),
        (lambda: RankPooling(1.1), "decay_per_mille"),
        (lambda: LogSumExpPooling(0.0), "sharpness: expected a positive number, got 0"),
        (lambda: TopSharePooling(0.0), r"share_frac: expected a share in \(0, 1\], got 0"),
        (lambda: TopSharePooling(1.5), "share_frac"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
