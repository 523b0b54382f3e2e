"""A branch is trusted by how well it tells held-out tags, and its record goes with the weights."""

from __future__ import annotations

import math

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from bundle.handlers import BranchTrust, trust_of_entropies
from tests.tiny import tiny_network, tiny_reader, tiny_slices
from tests.tiny_trainer import tiny_evaluator

LOGIT = math.log(3)  # probability 3/4


def validated(
    logits: torch.Tensor, tags: torch.Tensor, sizes: tuple[int, ...], power: float = 1.0, **options
):
    """Trust after an engine has given these logits (B, N), in batches of these sizes."""
    network = options.get("network") or tiny_network(logits.shape[1])
    batches = list(zip(logits.split(sizes), tags.split(sizes), strict=True))
    engine = Engine(lambda _, batch: {"pred": batch[0], "label": batch[1]})
    BranchTrust([network], power).attach(engine)
    engine.run(batches)
    return network.trust.tolist()


TAGS = torch.tensor([1.0, 0.0, 1.0, 0.0])
# Right in all four slices at 3/4; as good as chance, by saying 1/2; wrong throughout.
SKILLED = torch.tensor([[LOGIT, 0.0, -LOGIT], [-LOGIT, 0.0, LOGIT]]).repeat(2, 1)
SKILL = 1 - math.log(4 / 3) / math.log(2)  # cross-entropy ln(4/3) of ln 2


@pytest.mark.parametrize("sizes", [(4,), (3, 1), (1, 1, 1, 1)])
def test_value_by_hand_however_slices_are_batched(sizes):
    assert validated(SKILLED, TAGS, sizes) == pytest.approx([SKILL, 0, 0], abs=1e-6)


def test_power_prefers_the_best_and_0_treats_all_alike():
    assert validated(SKILLED, TAGS, (4,), power=2.0)[0] == pytest.approx(SKILL**2)
    assert validated(SKILLED, TAGS, (4,), power=0.0) == [1, 1, 1]


def test_skill_is_measured_against_the_share_of_positive_tags():
    # 3 of 4 slices are positive: who always says so, at 3/4, has learnt nothing.
    assert validated(torch.full((4, 1), LOGIT), torch.tensor([1.0, 1, 1, 0]), (4,)) == [1]
    entropies = torch.tensor([0.1, -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))])
    assert trust_of_entropies(entropies, torch.tensor(0.75), 1.0)[1].item() == pytest.approx(0, abs=1e-6)


def test_where_nobody_has_skill_all_are_trusted_alike():
    assert validated(SKILLED[:, 1:], TAGS, (4,)) == [1, 1]


def test_tags_of_one_kind_tell_nothing():
    assert validated(SKILLED, torch.ones(4), (4,)) == [1, 1, 1]


def test_each_validation_counts_anew():
    network = tiny_network(3)
    validated(-SKILLED, TAGS, (4,), network=network)
    assert network.trust.tolist() == pytest.approx([0, 0, SKILL], abs=1e-6)
    engine = Engine(lambda _, batch: {"pred": batch[0], "label": batch[1]})
    BranchTrust([network], 1.0).attach(engine)
    engine.run([(-SKILLED, TAGS)])
    engine.run([(SKILLED, TAGS)])
    assert network.trust.tolist() == pytest.approx([SKILL, 0, 0], abs=1e-6)


def test_a_validation_without_slices_changes_nothing():
    network = tiny_network(2)
    network.trust.copy_(torch.tensor([0.25, 0.75]))
    engine = Engine(lambda _, batch: None)
    trust = BranchTrust([network])
    trust.attach(engine)
    trust._start(engine)
    trust._set(engine)
    assert network.trust.tolist() == [0.25, 0.75]


def test_on_a_stock_evaluator_it_serves_every_network_given_wrapped_or_not():
    network, average = tiny_network(seed=1), tiny_network(seed=2)
    evaluator = tiny_evaluator(network)
    wrapper = nn.Module()
    wrapper.module = average
    BranchTrust([network, wrapper], power=1.0).attach(evaluator)
    evaluator.run()
    image, foreground, tags = tiny_slices(2, 5, seed=9)
    with torch.no_grad():
        logits = tiny_reader().logits(network.eval()(image), foreground)
    target = tags[:, None].expand_as(logits)
    entropies = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(0)
    torch.testing.assert_close(network.trust, trust_of_entropies(entropies, tags.mean(), 1.0))
    assert torch.equal(average.trust, network.trust)


def test_the_record_goes_with_the_weights():
    network, other = tiny_network(seed=1), tiny_network(seed=2)
    network.trust.copy_(torch.tensor([0.25, 0.75]))
    other.load_state_dict(network.state_dict())
    assert other.trust.tolist() == [0.25, 0.75]
    assert not any(name == "trust" for name, _ in network.named_parameters())


def test_a_power_is_not_negative():
    with pytest.raises(ValueError, match="BranchTrust power: expected a number from 0 up, got -1"):
        BranchTrust([tiny_network()], -1)


@pytest.mark.parametrize("networks", [[], [nn.Linear(1, 1)]], ids=["none", "other"])
def test_a_network_without_branches_is_refused(networks):
    with pytest.raises(ValueError, match="BranchTrust networks: expected ensembles of branches"):
        BranchTrust(networks)
