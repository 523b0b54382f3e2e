"""The running mean of the weights follows them, and a resumed run goes on from both."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from bundle.handlers import AveragedWeights


def adding(network: nn.Module) -> Engine:
    """A trainer that adds 1 to each weight in each step."""

    def step(engine, batch):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 1

    return Engine(step)


def stepped(averaged: AveragedWeights, network: nn.Module, steps: int) -> None:
    trainer = adding(network)
    averaged.attach(trainer)
    trainer.run(range(steps), max_epochs=1)


def weight_of(network: nn.Module) -> float:
    return float(next(network.parameters()).detach().flatten()[0])


def zeros() -> nn.Module:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    return network


def test_without_momentum_the_network_itself_is_kept():
    network = zeros()
    averaged = AveragedWeights(network, 0.0)
    stepped(averaged, network, 3)
    assert averaged.kept is network
    assert averaged.state_dict() == {}


def test_with_momentum_the_mean_lags_behind():
    # warm-up from 0.2 to 0.1: m1 = 0.2 * 1 = 0.2, then 0.2 + ~0.2 * (2 - 0.2) = 0.56 (less a thousandth)
    network = zeros()
    averaged = AveragedWeights(network, 0.1)
    stepped(averaged, network, 2)
    assert weight_of(network) == 2
    assert weight_of(averaged.kept) == pytest.approx(0.56, abs=0.01)


def test_trust_is_shared_with_the_mean():
    class Trusting(nn.Linear):
        def __init__(self):
            super().__init__(1, 1)
            self.register_buffer("trust", torch.ones(2))

    network = Trusting()
    averaged = AveragedWeights(network, 0.1)
    network.trust.copy_(torch.tensor([0.0, 1.0]))
    stepped(averaged, network, 1)
    assert averaged.kept.trust.tolist() == [0.0, 1.0]


def test_the_trained_weights_come_back():
    network = zeros()
    averaged = AveragedWeights(network, 0.1)
    stepped(averaged, network, 2)
    again = zeros()
    resumed = AveragedWeights(again, 0.1)
    resumed.attach(adding(again))
    resumed.load_state_dict(averaged.state_dict())
    assert weight_of(again) == 2


def test_a_resumed_run_does_not_warm_up_again():
    whole, part, again = zeros(), zeros(), zeros()
    undisturbed = AveragedWeights(whole, 0.01)
    stepped(undisturbed, whole, 60)
    killed = AveragedWeights(part, 0.01)
    stepped(killed, part, 30)
    resumed = AveragedWeights(again, 0.01)
    trainer = adding(again)
    resumed.attach(trainer)
    resumed.load_state_dict(killed.state_dict())
    resumed.kept.load_state_dict(killed.kept.state_dict())
    trainer.run(range(30), max_epochs=1)
    assert weight_of(resumed.kept) == weight_of(undisturbed.kept)


def test_before_it_is_attached_there_is_nothing_to_go_on_from():
    with pytest.raises(ValueError, match="expected to be attached to the trainer first"):
        AveragedWeights(zeros(), 0.1).state_dict()


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_a_momentum_outside_its_range_is_refused(momentum):
    with pytest.raises(ValueError, match="ema_momentum: expected a number in"):
        AveragedWeights(zeros(), momentum)
