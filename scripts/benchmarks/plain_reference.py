"""The objective as one would first write it down: branch after branch, pair after pair, default layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from bundle.equivariance import WarpPolicy
from bundle.inferers import CamReader


@dataclass
class _Reading:
    """What one branch says of both views: logits (B,) and maps (B, 1, H, W), the plain one warped."""

    plain_logit: torch.Tensor
    warped_logit: torch.Tensor
    plain_cam: torch.Tensor
    warped_cam: torch.Tensor

    def detached(self) -> _Reading:
        return _Reading(*(getattr(self, name).detach() for name in self.__dataclass_fields__))


class PlainReference:
    """Trains K branches with a forward pass for each view, a loss, a backward and an optimizer of their own.

    It computes what `TwoViewInferer`, `JointLoss` and one optimizer compute (the default recipe of
    configs/train.yaml), without any of their shortcuts, but wastes nothing either: each view goes through
    each branch once. All branches read before the first one is updated, as in the joint step.

    Args:
        branches: one a modality; their own copies.
        reader: evidence to logits and maps.
        policy: draws the warps.
        weights: of ``classification``, ``er``, ``kd`` and ``cmer``.
        temperature: of ``kd``.
        optimizer: makes an optimizer from parameters.
    """

    def __init__(
        self,
        branches: Sequence[nn.Module],
        reader: CamReader,
        policy: WarpPolicy,
        weights: Mapping[str, float],
        temperature: float,
        optimizer: Callable[[Iterable[torch.Tensor]], torch.optim.Optimizer],
    ) -> None:
        self.branches, self.reader, self.policy = list(branches), reader, policy
        self.weights, self.temperature = dict(weights), temperature
        self.optimizers = [optimizer(branch.parameters()) for branch in self.branches]

    def step(self, image: torch.Tensor, foreground: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
        """One training step; returns the sum of the branches' losses, detached.

        Args:
            image: (B, K, H, W).
            foreground: (B, 1, H, W).
            tags: (B,).
        """
        warp = self.policy.draw(len(image))
        warped_image = warp.apply(image)
        warped_foreground = (warp.apply(foreground) > 0.5).to(foreground.dtype)
        inside = warp.field_of_view(image)
        readings = []
        for number, branch in enumerate(self.branches):
            evidence = branch(image[:, number : number + 1])
            warped_evidence = branch(warped_image[:, number : number + 1])
            readings.append(
                _Reading(
                    self.reader.logits(evidence, foreground)[:, 0],
                    self.reader.logits(warped_evidence, warped_foreground)[:, 0],
                    warp.apply(self.reader.cams(evidence, foreground)),
                    self.reader.cams(warped_evidence, warped_foreground),
                )
            )
        teachers = [reading.detached() for reading in readings]
        total = image.new_zeros(())
        for number, (reading, optimizer) in enumerate(zip(readings, self.optimizers, strict=True)):
            others = teachers[:number] + teachers[number + 1 :]
            loss = self._loss(reading, others, inside, tags.to(image.dtype))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return total

    def _loss(
        self, own: _Reading, others: Sequence[_Reading], inside: torch.Tensor, tags: torch.Tensor
    ) -> torch.Tensor:
        cross_entropy = F.binary_cross_entropy_with_logits
        classified = cross_entropy(own.plain_logit, tags) + cross_entropy(own.warped_logit, tags)
        loss = self.weights["classification"] * 0.5 * classified
        pixels = inside.sum(dim=(1, 2, 3)).clamp(min=1)
        moved = ((own.plain_cam - own.warped_cam) ** 2 * inside).sum(dim=(1, 2, 3)) / pixels
        loss = loss + self.weights["er"] * (moved * tags).mean()
        plain, warped = _unit(own.plain_cam * inside), _unit(own.warped_cam * inside)
        for other in others:
            distilled = self._divergence(own.plain_logit, other.plain_logit) + self._divergence(
                own.warped_logit, other.warped_logit
            )
            to_warped = (plain - _unit(other.warped_cam * inside)).square().sum(dim=(1, 2, 3))
            to_plain = (warped - _unit(other.plain_cam * inside)).square().sum(dim=(1, 2, 3))
            apart = to_warped * (other.warped_logit > 0) * tags + to_plain * (other.plain_logit > 0) * tags
            pair = self.weights["kd"] * 0.5 * distilled + self.weights["cmer"] * 0.5 * apart.mean()
            loss = loss + pair / len(others)
        return loss

    def _divergence(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """T^2 KL(teacher || student), the mean over the batch."""
        student, teacher = student / self.temperature, teacher / self.temperature
        tumour = torch.sigmoid(teacher) * (F.logsigmoid(teacher) - F.logsigmoid(student))
        healthy = torch.sigmoid(-teacher) * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
        return self.temperature**2 * (tumour + healthy).mean()


def _unit(cam: torch.Tensor) -> torch.Tensor:
    """Scaled to L2 norm 1 a slice; an empty map stays 0 and gets no gradient."""
    square = cam.square().sum(dim=(1, 2, 3), keepdim=True)
    empty = square <= 0
    return torch.where(empty, 0.0, cam / torch.where(empty, 1.0, square).sqrt())
