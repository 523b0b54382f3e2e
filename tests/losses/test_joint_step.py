"""One joint step is exact: it equals a round of its own for each branch; so does the memory layout."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from bundle.equivariance import Views, WarpPolicy
from bundle.inferers import TwoViewInferer
from bundle.networks import BranchEnsemble
from tests import equations
from tests.tiny import tiny_loss, tiny_network, tiny_reader, tiny_slices

STEPS, BATCH = 3, 4
ADAMW = {"lr": 1e-3, "weight_decay": 0.1}
POLICIES = {
    "exact": {"kinds": ["flip", "rotate"], "compose": True},
    "interpolated": {"kinds": ["scale", "translate"], "compose": True},
    "one of four": {},
}


def batches(branches: int) -> list[tuple[torch.Tensor, ...]]:
    return [tiny_slices(branches, BATCH, seed=step, dtype=torch.float64) for step in range(STEPS)]


def policy(kind: str) -> WarpPolicy:
    return WarpPolicy(**POLICIES[kind])


def train_jointly(
    network: BranchEnsemble, kind: str, layout: torch.memory_format = torch.contiguous_format
) -> list[float]:
    """Ours: one loss, one backward, one optimizer."""
    network.to(memory_format=layout).train()
    optimizer = torch.optim.AdamW(network.parameters(), **ADAMW)
    inferer, loss, values = TwoViewInferer(policy(kind), tiny_reader(), seed=5), tiny_loss(), []
    for image, foreground, tags in batches(len(network.branches)):
        optimizer.zero_grad()
        value = loss(inferer(image.contiguous(memory_format=layout), network, foreground), tags)
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values


def train_in_rounds(network: BranchEnsemble, kind: str) -> list[float]:
    """As printed: one branch after another, two forwards, one backward and one optimizer a branch."""
    optimizers = [torch.optim.AdamW(branch.parameters(), **ADAMW) for branch in network.train().branches]
    draws, reader, values = policy(kind).set_random_state(5), tiny_reader(), []
    for image, foreground, tags in batches(len(network.branches)):
        warp = draws.draw(BATCH)
        warped_foreground = (warp.apply(foreground) > 0.5).double()
        parts = []
        for k, branch in enumerate(network.branches):
            one = image[:, k : k + 1]
            plain, warped = branch(one), branch(warp.apply(one))
            parts.append(
                (
                    reader.logits(plain, foreground),
                    reader.logits(warped, warped_foreground),
                    warp.apply(reader.cams(plain, foreground)),
                    reader.cams(warped, warped_foreground),
                )
            )
        total = 0.0
        for k, optimizer in enumerate(optimizers):
            views = seen_by(k, parts, warp.field_of_view(image))
            value = (
                equations.classification(k, views, tags)
                + equations.er(k, views, tags)
                + 0.5 * equations.kd(k, views, tags, 10.0)
                + equations.cmer(k, views, tags)
            )
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            total += value.item()
        values.append(total)
    return values


def seen_by(student: int, parts: list[tuple[torch.Tensor, ...]], field_of_view: torch.Tensor) -> Views:
    """Both views of all branches, those of the teachers detached."""
    kept = [
        part if k == student else tuple(tensor.detach() for tensor in part) for k, part in enumerate(parts)
    ]
    return Views(*(torch.cat(tensors, dim=1) for tensors in zip(*kept, strict=True)), field_of_view)


def largest_difference(first: BranchEnsemble, second: BranchEnsemble) -> float:
    """Over all weights and batch statistics."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return max((a.double() - b.double()).abs().max().item() for a, b in pairs)


@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("branches", [1, 2, 3])
def test_one_joint_step_equals_a_round_for_each_branch(branches, kind):
    joint = tiny_network(branches, width=4).double()
    rounds, start = deepcopy(joint), deepcopy(joint)
    assert train_jointly(joint, kind) == pytest.approx(train_in_rounds(rounds, kind), abs=1e-9)
    assert largest_difference(joint, rounds) < 1e-9
    assert largest_difference(joint, start) > 1e-3


@pytest.mark.parametrize("kind", POLICIES)
def test_channels_last_gives_the_same_losses_and_weights(kind):
    default = tiny_network(2, width=4).double()
    last = deepcopy(default)
    expected = train_jointly(default, kind)
    assert train_jointly(last, kind, torch.channels_last) == pytest.approx(expected, abs=1e-9)
    assert largest_difference(default, last) < 1e-9
