"""The clearest modality starts as the threshold that the tags teach, and no other branch is touched."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from bundle.handlers import intensity_start, start_from_intensity
from bundle.networks import BranchEnsemble, CamUNet, PixelCorrelationBranch, Readout
from bundle.pooling import RankPooling
from tests.running import merged
from tests.tiny import MODALITIES, tiny_network, tiny_reader

SIDE = 12


class Slices(list):
    """Items of a data set that know their tags, read in batches."""

    def __init__(self, images: torch.Tensor, tags: list[float]) -> None:
        inside = torch.zeros(1, SIDE, SIDE)
        inside[:, 1:11, 1:11] = 1
        super().__init__({"image": image * inside, "foreground": inside} for image in images)
        self.tags = np.array(tags, dtype=np.int8)

    def __getitems__(self, indices) -> list[dict]:
        return [self[index] for index in indices]


def cohort(count: int = 40, lesion: float = 3.0, seed: int = 0) -> Slices:
    """Noise in both modalities; in every second slice the second has a spot that is brighter (or darker) by so much."""
    images = torch.randn(count, 2, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    images[1::2, 1, 3:7, 3:7] += lesion
    return Slices(images, [0.0, 1.0] * (count // 2))


def start(network: nn.Module, slices: Slices) -> nn.Module:
    start_from_intensity([network], slices, RankPooling(0.95))
    return network


def evidence_of(network: nn.Module, slices: Slices) -> torch.Tensor:
    with torch.no_grad():
        return network.eval()(torch.stack([item["image"] for item in slices]))


@pytest.mark.parametrize("lesion", [3.0, -3.0])
def test_the_branch_of_the_clearest_modality_becomes_a_threshold_on_its_image(lesion):
    slices = cohort(lesion=lesion)
    network = start(tiny_network(intensity=True), slices)
    image = torch.stack([item["image"] for item in slices])[:, 1]
    slope, intercept = network.branches[1].evidence.weight[0, -2:, 0, 0].tolist()
    assert slope * lesion > 0
    torch.testing.assert_close(evidence_of(network, slices)[:, 1], slope * image + intercept)
    inside, spot = slices[1]["foreground"][0] > 0, torch.zeros(SIDE, SIDE, dtype=torch.bool)
    spot[3:7, 3:7] = True
    assert roc_auc_score(spot[inside], evidence_of(network, slices)[1, 1][inside]) > 0.9


def test_its_logits_tell_the_tags_before_any_step():
    slices = cohort()
    network = start(tiny_network(intensity=True), slices)
    inside = torch.stack([item["foreground"] for item in slices])
    logits = tiny_reader(RankPooling(0.95)).logits(evidence_of(network, slices), inside)
    assert ((logits[:, 1] > 0).numpy() == slices.tags).mean() > 0.9


def test_the_start_is_that_of_scikit_learns_regression_of_the_tags_on_the_pooled_image():
    # the slope is positive and finite: its penalty is that of one standard normal draw
    slices = cohort(lesion=1.0)
    weight = start(tiny_network(intensity=True), slices).branches[1].evidence.weight[0, -2:, 0, 0]
    image, inside = (torch.stack([item[key] for item in slices]) for key in ("image", "foreground"))
    pooled = RankPooling(0.95)(image, inside)[:, 1].double().requires_grad_(False)
    tags, found = torch.as_tensor(slices.tags, dtype=torch.float64), weight.double().detach().requires_grad_()
    cost = nn.functional.binary_cross_entropy_with_logits(found[0] * pooled + found[1], tags, reduction="sum")
    (gradient,) = torch.autograd.grad(cost + 0.5 * found[0] ** 2, found)
    assert gradient.abs().max() < 1e-2  # a minimum of the penalised cross-entropy


def test_other_branches_and_another_seed_change_nothing_of_the_start():
    slices = cohort()
    before = tiny_network(intensity=True)
    after = start(tiny_network(intensity=True), slices)
    for one, other in zip(before.branches[0].parameters(), after.branches[0].parameters(), strict=True):
        assert torch.equal(one, other)
    again = start(tiny_network(intensity=True, seed=1), slices)
    assert torch.equal(evidence_of(after, slices)[:, 1], evidence_of(again, slices)[:, 1])


@pytest.mark.parametrize("head_channels", [1, 2])
def test_with_early_fusion_the_clearest_channel_is_the_start(head_channels):
    slices = cohort()
    branch = partial(CamUNet, width=2, levels=1, intensity=True, head_channels=head_channels)
    network = start(BranchEnsemble(MODALITIES[:2], branch, early_fusion=True), slices)
    weight = network.branches[0].evidence.weight[:, :, 0, 0]
    assert weight[-1, -2] > 0
    assert weight.count_nonzero() == 2  # slope and intercept of the channel that says tumour


def test_where_no_intensity_tells_the_tags_all_branches_start_as_they_are():
    slices = cohort(lesion=0.0)
    slices[:] = [slices[0]] * len(slices)  # positive and negative slices are the same
    before, after = tiny_network(intensity=True), start(tiny_network(intensity=True), slices)
    assert all(
        torch.equal(one, other) for one, other in zip(before.parameters(), after.parameters(), strict=True)
    )


def test_a_network_that_does_not_see_its_image_at_the_end_starts_as_it_is():
    before, after = tiny_network(), start(tiny_network(), cohort())
    assert all(
        torch.equal(one, other) for one, other in zip(before.parameters(), after.parameters(), strict=True)
    )


def test_it_says_what_starts_how(capsys):
    start(tiny_network(intensity=True), cohort())
    assert "t1c starts as what is above " in capsys.readouterr().out
    start(tiny_network(), cohort())
    assert "do not see intensities at their end" in capsys.readouterr().out


def test_the_network_that_is_kept_and_wrapped_ones_start_alike():
    slices, seen, kept = cohort(), tiny_network(intensity=True), tiny_network(intensity=True, seed=1)
    start_from_intensity([nn.DataParallel(seen), kept], slices, RankPooling(0.95))
    assert torch.equal(seen.branches[1].evidence.weight, kept.branches[1].evidence.weight)


def test_a_branch_inside_seams_correlation_starts_likewise():
    slices, refine = cohort(), partial(PixelCorrelationBranch, readout=Readout(1))
    branch = partial(CamUNet, width=2, levels=1, intensity=True)
    network = start(BranchEnsemble(MODALITIES[:2], branch, wrap=refine), slices)
    assert network.branches[1].evidence.weight.count_nonzero() == 2


def test_it_reads_slices_as_the_network_will_see_them():
    slices = cohort()
    far = Slices(torch.stack([1000 * item["image"] for item in slices]), slices.tags.tolist())
    one, other = tiny_network(intensity=True), tiny_network(intensity=True)
    start_from_intensity([one], slices, RankPooling(0.95))
    start_from_intensity([other], far, RankPooling(0.95), normalise=lambda image: image / 1000)
    torch.testing.assert_close(one.branches[1].evidence.weight, other.branches[1].evidence.weight)


def test_a_thousand_slices_are_enough(monkeypatch):
    slices, read = cohort(400), []
    monkeypatch.setattr(intensity_start, "ENOUGH", 100)
    monkeypatch.setattr(
        Slices, "__getitems__", lambda self, chosen: read.extend(chosen) or [self[i] for i in chosen]
    )
    start(tiny_network(intensity=True), slices)
    assert len(set(read)) == len(read) == 100
    assert (min(read), max(read)) == (0, 399)


def test_what_loads_weights_comes_after_it():
    steps = merged("train", "method_annealed_pooling", "run_early_stop", "run_pretrained").get()["initialize"]
    place, loads = (
        next(number for number, step in enumerate(steps) if name in step)
        for name in ("start_from_intensity", "start_from_weights")
    )
    assert place < loads
    assert [step for step in steps[:place] if "early_stop" in step] == []
