"""Grad-CAM and Grad-CAM++: how much each feature map moves the slice's logit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import nn

from bundle.inferers.volume import VolumeInferer
from bundle.networks import BranchEnsemble


class GradCamInferer(VolumeInferer):
    """Grad-CAM (Selvaraju et al. 2017, eqs. 1 and 2) at the features that ``evidence`` layers receive.

    A feature map weighs as much as the mean gradient of the branch's logit with respect to it. Behind a 1x1
    convolution this equals CAM for every pooling whose weights of pixels sum to 1, as those of all ours do.
    Only the last layer is differentiated, so a pass costs hardly more than CAM's. Hooks are released even if
    the network raises.
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
        for branch, feature in zip(network.branches, features, strict=True):
            head = cast("nn.Conv2d", branch.evidence)
            with torch.enable_grad():
                feature = feature.detach().to(head.weight.dtype).requires_grad_()
                branch_logits = self.reader.logits(head(feature), foreground)
                (gradient,) = torch.autograd.grad(branch_logits.sum(), feature)
            feature = feature.detach()
            weight = self.weigh(feature, gradient)[:, :, None, None]
            maps.append((weight * feature).sum(1, keepdim=True))
            logits.append(branch_logits.detach())
        return self.reader.normalise(torch.cat(maps, dim=1), foreground), torch.cat(logits, dim=1)

    def weigh(self, feature: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Features and the logit's gradient (B, F, H, W) to the weight of each feature map, (B, F)."""
        return gradient.mean(dim=(2, 3))


class GradCamPlusPlusInferer(GradCamInferer):
    """Grad-CAM++ (Chattopadhay et al. 2018, eqs. 11 and 19): positive gradients, weighted pixel by pixel.

    The score is exp(logit), whose constant factor vanishes when the map is normalised.
    """

    def weigh(self, feature: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        # alpha = g^2 / (2 g^2 + sum(A) g^3) = 1 / (2 + sum(A) g), without squares that underflow.
        denominator = 2 + feature.sum(dim=(2, 3), keepdim=True) * gradient
        alpha = torch.where(denominator.abs() > 1e-12, 1 / denominator, 0.0)
        return (alpha * gradient.relu()).sum(dim=(2, 3))


@contextmanager
def _features(network: BranchEnsemble) -> Iterator[list[torch.Tensor]]:
    """Collects what enters each branch's ``evidence`` layer, in the order of the branches."""
    collected: list[torch.Tensor] = []
    hooks = [
        cast("nn.Conv2d", branch.evidence).register_forward_pre_hook(
            lambda _, inputs: collected.append(inputs[0])
        )
        for branch in network.branches
    ]
    try:
        yield collected
    finally:
        for hook in hooks:
            hook.remove()
