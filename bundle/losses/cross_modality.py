"""Eq. 4: across modalities, the maps point at the same place."""

from __future__ import annotations

import torch
from torch import nn

from bundle.equivariance import Views
from bundle.losses.reduction import check_reduction
from bundle.losses.teachers import mean_over_teachers


class CrossModalityEquivarianceLoss(nn.Module):
    """Cross-modality equivariance regularisation, L_CMER in Patel and Dolz (2022), eq. 4.

    ``(|pi(M_k) - M_j,pi|^2 + |M_k,pi - pi(M_j)|^2) / 2`` of maps scaled to unit L2 norm, for student k and
    teacher j; the mean over teachers (eq. 8) is summed over students. A single branch costs nothing. The squared
    distance is expanded to ``|a|^2 + |b|^2 - 2 a.b``, so no map is built for each pair. Gradients go to the
    student only; an empty student map gets none.

    Args:
        reduction: over pixels, ``"sum"`` (the norm as printed, ours) or ``"mean"`` (published code, where the
            term is at most 2 / (H W) and does nothing); over the batch always the mean.
        positive_only: only slices tagged tumour count (published code, ours).
        trust_teacher: only slices in which the teacher says tumour count (published code, ours).
        by_skill: a teacher counts by how far the views trust it, instead of all alike (paper).
        own_trust: so does the student; see :func:`bundle.losses.teachers.mean_over_teachers`.
    """

    def __init__(
        self,
        reduction: str = "sum",
        positive_only: bool = True,
        trust_teacher: bool = True,
        by_skill: bool = False,
        own_trust: bool = False,
    ) -> None:
        super().__init__()
        self.reduction = check_reduction("CrossModalityEquivarianceLoss", reduction)
        self.positive_only, self.trust_teacher = positive_only, trust_teacher
        self.by_skill, self.own_trust = by_skill, own_trust

    def forward(self, views: Views, tags: torch.Tensor) -> torch.Tensor:
        """Tags, 1 tumour or 0 healthy, (B,); returns a scalar."""
        inside = views.field_of_view
        plain, warped = _unit_norm(views.plain_cams * inside), _unit_norm(views.warped_cams * inside)
        pairs = 0.5 * (
            self._distance(plain, warped) * self._trust(views.warped_logits, tags)
            + self._distance(warped, plain) * self._trust(views.plain_logits, tags)
        )
        if self.reduction == "mean":
            pairs = pairs / inside.sum(dim=(1, 2, 3)).clamp(min=1)[:, None, None]
        return mean_over_teachers(pairs.mean(0), views.trust if self.by_skill else None, self.own_trust)

    @staticmethod
    def _distance(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Squared distances [b, k, j] of flat unit maps (B, N, P)."""
        teacher = teacher.detach()
        return (
            student.square().sum(-1)[:, :, None]
            + teacher.square().sum(-1)[:, None, :]
            - 2 * student @ teacher.transpose(1, 2)
        )

    def _trust(self, teacher_logits: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
        """Which slices count for which teacher, [b, 1, j]."""
        weight = torch.ones_like(teacher_logits)
        if self.trust_teacher:
            weight = weight * (teacher_logits > 0)
        if self.positive_only:
            weight = weight * tags.to(weight.dtype)[:, None]
        return weight.detach()[:, None, :]


def _unit_norm(cams: torch.Tensor) -> torch.Tensor:
    flat = cams.flatten(2)
    square = flat.square().sum(-1, keepdim=True)
    empty = square <= 0
    return torch.where(empty, 0.0, flat * torch.rsqrt(torch.where(empty, 1.0, square)))
