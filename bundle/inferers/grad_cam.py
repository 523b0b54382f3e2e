"""Grad-CAM and Grad-CAM++: how much each feature map moves the score of the slice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import nn

from bundle.inferers.volume import VolumeInferer
from bundle.networks import BranchEnsemble, CamBranch, bilinear_to


class GradCamInferer(VolumeInferer):
    """Grad-CAM (Selvaraju et al. 2017, eqs. 1 and 2) at the features that ``evidence`` layers receive.

    A feature map weighs as much as the mean gradient of the branch's score with respect to it; the score is what the
    reader's map says of the slice (`CamReader.scores`): the logit, or the tumour channel where that alone is the map.
    Behind a 1x1 convolution this equals CAM for every pooling that takes each channel by itself, with weights of
    pixels that sum to 1, as all of ours do; features coarser than the slice change nothing, since the resampling is
    linear and its weights sum to 1, too.
    Only what lies behind the last features is differentiated, so a pass costs hardly more than CAM's. Hooks are
    released even if the network raises.
    """

    def read(
        self, image: torch.Tensor, network: nn.Module, foreground: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not isinstance(network, BranchEnsemble):
            raise ValueError(
                f"{type(self).__name__}: expected a BranchEnsemble whose branches end in a layer `evidence`, "
                f"got {type(network).__name__}; use CamInferer, or unwrap the network"
            )
        with _features(network) as features:
            self.evidence(image, network)
        maps, logits = [], []
        size = list(image.shape[-2:])
        for branch, feature in zip(_branches(network), features, strict=True):
            with torch.enable_grad():
                feature = feature.detach().to(branch.evidence.weight.dtype).requires_grad_()
                evidence = branch.to_evidence(feature, size)
                score = self.reader.scores(evidence, foreground).sum()
                (gradient,) = torch.autograd.grad(score, feature)
            feature = feature.detach()
            weight = self.weigh(feature, gradient)[:, :, None, None]
            maps.append(bilinear_to((weight * feature).sum(1, keepdim=True), size))
            logits.append(self.reader.logits(evidence.detach(), foreground))
        return self.reader.normalise(torch.cat(maps, dim=1), foreground), torch.cat(logits, dim=1)

    def weigh(self, feature: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Features and the score's gradient (B, F, H, W) to the weight of each feature map, (B, F)."""
        return gradient.mean(dim=(2, 3))


class GradCamPlusPlusInferer(GradCamInferer):
    """Grad-CAM++ (Chattopadhay et al. 2018, eqs. 11 and 19): positive gradients, weighted pixel by pixel.

    The equations' Y is exp(score), whose constant factor vanishes when the map is normalised.
    """

    def weigh(self, feature: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        # alpha = g^2 / (2 g^2 + sum(A) g^3) = 1 / (2 + sum(A) g), without squares that underflow.
        denominator = 2 + feature.sum(dim=(2, 3), keepdim=True) * gradient
        alpha = torch.where(denominator.abs() > 1e-12, 1 / denominator, 0.0)
        return (alpha * gradient.relu()).sum(dim=(2, 3))


def _branches(network: BranchEnsemble) -> list[CamBranch]:
    return [cast("CamBranch", branch) for branch in network.branches]


@contextmanager
def _features(network: BranchEnsemble) -> Iterator[list[torch.Tensor]]:
    """Collects what enters each branch's ``evidence`` layer, in the order of the branches."""
    collected: list[torch.Tensor] = []
    hooks = [
        branch.evidence.register_forward_pre_hook(lambda _, inputs: collected.append(inputs[0]))
        for branch in _branches(network)
    ]
    try:
        yield collected
    finally:
        for hook in hooks:
            hook.remove()
