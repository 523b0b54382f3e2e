"""One network for any subset of modalities: a joint one, and a small expert for each modality alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

EVERY = 2  # of how many slices an expert sees one
UNSEEN = -math.inf  # log odds of who has not looked; nan stays what it is, a training that diverged


class ModalityExperts(nn.Module):
    """A network that sees all modalities, and beside it one for each of them, which answers where no other is there.

    In one network for all subsets a modality that the others outdo, such as T1, is given up; so what it shows by
    itself is learnt apart. Ours. Each expert learns from half of a batch, which is enough and saves half of its time.

    In training the joint network sees slices of which modalities are missing, drawn anew in each step
    (:func:`drop_modalities`), and each expert its own modality in every second slice, missing or not. In evaluation a
    slice or patch goes to the joint network, or to an expert if it has one modality alone; a channel of 0 counts as
    missing. With K = 1 there is only the joint network.

    Experts draw their first weights apart, so that the joint network is the same as without them.

    Args:
        branch: the joint network, image (B, K, H, W[, D]) to evidence (B, C, H, W[, D]).
        modalities: names of the K channels.
        expert: makes an expert, whose evidence has C channels as well; called as ``expert(in_channels=1)`` K times.
            ``None`` for none: modalities are dropped all the same.
        drop_prob: of a slice to lose modalities in training.

    Shape:
        (B, K, H, W[, D]) to (B, C, H, W[, D]) in evaluation; in training to (B, (1 + K) * C, H, W[, D]), the joint
        network's and each expert's, :data:`UNSEEN` where an expert does not look.

    Raises:
        ValueError: for a probability outside [0, 1], or (when called) for an image of another number of channels, or
            an expert whose evidence has another one.
    """

    def __init__(
        self,
        branch: nn.Module,
        modalities: Sequence[str],
        expert: Callable[..., nn.Module] | None,
        drop_prob: float = 0.75,
    ) -> None:
        super().__init__()
        if not 0 <= drop_prob <= 1:
            raise ValueError(f"ModalityExperts drop_prob: expected a number in [0, 1], got {drop_prob}")
        self.branch, self.drop_prob = branch, float(drop_prob)
        count = len(modalities) if expert is not None and len(modalities) > 1 else 0
        with torch.random.fork_rng(devices=[]):
            made = [] if expert is None else [expert(in_channels=1) for _ in range(count)]
        self.experts = nn.ModuleList(made)
        self.channels = len(modalities)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if image.shape[1] != self.channels:
            raise ValueError(
                f"ModalityExperts: expected {self.channels} channels, one a modality, got {image.shape[1]}; leave "
                f"early_fusion true, or train without experts: --wrap '$None'"
            )
        if not torch.jit.is_scripting() and self.training:  # TorchScript can't read what training needs
            return self._side_by_side(image)
        return self._routed(image)

    def _side_by_side(self, image: torch.Tensor) -> torch.Tensor:
        evidence = [self.branch(drop_modalities(image, self.drop_prob))]
        slices = torch.arange(len(image), device=image.device)
        for place, expert in enumerate(self.experts):
            share = slice(place % min(len(image), EVERY), None, EVERY)  # one slice at least
            seen = _fitting(expert(image[share, place : place + 1]), evidence[0])
            unseen = torch.full_like(evidence[0], UNSEEN, dtype=seen.dtype)
            evidence.append(unseen.index_copy(0, slices[share], seen))
        return torch.cat(evidence, dim=1)

    def _routed(self, image: torch.Tensor) -> torch.Tensor:
        evidence = self.branch(image)
        there = (image != 0).flatten(2).any(dim=2)
        alone = there & (there.sum(dim=1, keepdim=True) == 1)
        recorded = _is_recorded()
        asked = alone if recorded else alone.any(dim=0).cpu()  # the only wait for the device
        for place, expert in enumerate(self.experts):
            if recorded or bool(asked[place]):
                chosen = alone[:, place].reshape([-1] + [1] * (image.ndim - 1))
                found = _fitting(expert(image[:, place : place + 1]), evidence)
                evidence = torch.where(chosen, found, evidence)
        return evidence


def drop_modalities(image: torch.Tensor, prob: float) -> torch.Tensor:
    """Some modalities of some slices or patches become 0, the tissue's mean, so that a network learns to go without.

    Each slice loses a random proper subset with probability `prob`: first how many stay is drawn, then which; so
    every size is as frequent and a single modality is met as often as nearly all of them.

    Args:
        image: (B, K, H, W[, D]); a single modality stays.
        prob: of a slice to lose something; 0 to 1.
    """
    batch, count = image.shape[:2]
    if count == 1:
        return image
    stay = torch.randint(1, count, (batch, 1))
    rank = torch.rand((batch, count)).argsort(dim=1).argsort(dim=1)
    kept = (rank < stay) | (torch.rand((batch, 1)) >= prob)
    return image * kept.to(image).reshape(batch, count, *[1] * (image.ndim - 2))


def _fitting(found: torch.Tensor, joint: torch.Tensor) -> torch.Tensor:
    if found.shape[1] != joint.shape[1]:
        raise ValueError(
            f"ModalityExperts: expected experts of {joint.shape[1]} channels, as the joint network's evidence, got "
            f"{found.shape[1]}; change `wrap#expert` as `branch`"
        )
    return found


def _is_recorded() -> bool:
    """Whether a graph is being recorded, which must serve every subset, not that of its example alone."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()
