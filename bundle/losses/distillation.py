"""Eq. 3: branches exchange their predictions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from bundle.equivariance import Views
from bundle.losses.teachers import mean_over_teachers


class DistillationLoss(nn.Module):
    """Knowledge distillation, L_KD in Patel and Dolz (2022), eq. 3: KL(teacher || student), both views.

    Each branch is a student of every other one; the mean over its teachers (eq. 8) is summed over students.
    A single branch has no teacher and costs nothing. Gradients go to the student only.

    Args:
        temperature: softens both distributions, and T^2 restores the gradient's size (Hinton et al. 2015). The
            paper prints none (1); its code and ours take 10, which makes it nearly ``(u_j - u_k)^2 / 8``.
        by_skill: a teacher counts by how far the views trust it, instead of all alike (paper).
        own_trust: so does the student; see :func:`bundle.losses.teachers.mean_over_teachers`.
    """

    def __init__(self, temperature: float = 10.0, by_skill: bool = False, own_trust: bool = False) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"DistillationLoss temperature: expected a positive number, got {temperature}")
        self.temperature, self.by_skill, self.own_trust = temperature, by_skill, own_trust

    def forward(self, views: Views, tags: torch.Tensor) -> torch.Tensor:
        """Tags are not needed; returns a scalar."""
        per_view = [self._divergence(logits).mean(0) for logits in (views.plain_logits, views.warped_logits)]
        pairs = 0.5 * self.temperature**2 * (per_view[0] + per_view[1])
        return mean_over_teachers(pairs, views.trust if self.by_skill else None, self.own_trust)

    def _divergence(self, logits: torch.Tensor) -> torch.Tensor:
        """KL of Bernoulli distributions, [b, k, j] with student k and teacher j."""
        student = (logits / self.temperature)[:, :, None]
        teacher = (logits.detach() / self.temperature)[:, None, :]
        tumour = torch.sigmoid(teacher) * (F.logsigmoid(teacher) - F.logsigmoid(student))
        healthy = torch.sigmoid(-teacher) * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
        return tumour + healthy
