"""How far the branches' maps of a case disagree: what active learning asks a user about first."""

from __future__ import annotations

import torch


def disagreement_of_branches(cams: torch.Tensor, foreground: torch.Tensor) -> float:
    """Mean Jensen-Shannon divergence of the branches' maps over the foreground, in nats.

    Query by committee (McCallum and Nigam 1998): each voxel's map is a branch's probability of tumour, and the
    divergence is the entropy of their mean less the mean of their entropies. It is 0 where all say the same, also
    where all are unsure, and log 2 where half are sure of tumour and half of its absence.

    Args:
        cams: maps in [0, 1], (N, ...), of the branches that are there.
        foreground: above 0 inside the body part, (1, ...) or (...).

    Raises:
        ValueError: fewer than two branches.

    >>> certain = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])
    >>> round(disagreement_of_branches(certain, torch.ones(1, 1, 2)), 4)  # log(2) in one of two voxels
    0.3466
    """
    if len(cams) < 2:
        raise ValueError(
            f"disagreement needs two branches that have a modality, found {len(cams)}; use another strategy"
        )
    inside = (torch.as_tensor(foreground) > 0).reshape(-1).to(cams.device)
    maps = cams.float().reshape(len(cams), -1)[:, inside]
    if maps.shape[1] == 0:
        return 0.0
    return float((_entropy(maps.mean(dim=0)) - _entropy(maps).mean(dim=0)).mean())


def _entropy(probability: torch.Tensor) -> torch.Tensor:
    return -(torch.xlogy(probability, probability) + torch.xlogy(1 - probability, 1 - probability))
