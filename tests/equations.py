"""Eqs. 2 to 5 of Patel and Dolz (2022) as printed, with the published code's masks, for one student."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from bundle.equivariance import Views


def classification(k: int, views: Views, tags: torch.Tensor) -> torch.Tensor:
    """Eq. 5 of branch k, as the cross-entropy of a softmax over (0, z)."""
    return 0.5 * sum(
        F.cross_entropy(two_classes(logits[:, k]), tags.long())
        for logits in (views.plain_logits, views.warped_logits)
    )


def er(k: int, views: Views, tags: torch.Tensor) -> torch.Tensor:
    """Eq. 2 of branch k: mean over the pixels in view, mean over the batch."""
    total = 0.0
    for b, tag in enumerate(tags):
        inside = views.field_of_view[b, 0] > 0
        difference = views.plain_cams[b, k][inside] - views.warped_cams[b, k][inside]
        total = total + tag * (difference**2).mean()
    return total / len(tags)


def kd(k: int, views: Views, tags: torch.Tensor, temperature: float) -> torch.Tensor:
    """Eq. 3 of student k: KL(teacher || student) of softened softmax outputs, mean over its teachers."""
    teachers = [j for j in range(views.plain_logits.shape[1]) if j != k]
    total = 0.0
    for j in teachers:
        for logits in (views.plain_logits, views.warped_logits):
            student = F.log_softmax(two_classes(logits[:, k]) / temperature, dim=1)
            teacher = F.softmax(two_classes(logits[:, j].detach()) / temperature, dim=1)
            total = total + 0.5 * temperature**2 * F.kl_div(student, teacher, reduction="batchmean")
    return total / max(len(teachers), 1)


def cmer(k: int, views: Views, tags: torch.Tensor) -> torch.Tensor:
    """Eq. 4 of student k: sum over the pixels in view, mean over the batch and over its teachers."""
    teachers = [j for j in range(views.plain_logits.shape[1]) if j != k]
    total = 0.0
    for j in teachers:
        for b, tag in enumerate(tags):
            inside = views.field_of_view[b, 0] > 0
            plain_trust = tag * (views.plain_logits[b, j] > 0)
            warped_trust = tag * (views.warped_logits[b, j] > 0)
            plain_k, warped_k = unit(views.plain_cams[b, k][inside]), unit(views.warped_cams[b, k][inside])
            plain_j, warped_j = unit(views.plain_cams[b, j][inside]), unit(views.warped_cams[b, j][inside])
            total = total + 0.5 * warped_trust * ((plain_k - warped_j.detach()) ** 2).sum()
            total = total + 0.5 * plain_trust * ((warped_k - plain_j.detach()) ** 2).sum()
    return total / (len(tags) * max(len(teachers), 1))


def two_classes(logit: torch.Tensor) -> torch.Tensor:
    """Log odds (B,) as the logits of healthy and tumour, (B, 2)."""
    return torch.stack([torch.zeros_like(logit), logit], dim=1)


def unit(values: torch.Tensor) -> torch.Tensor:
    """Scaled to unit L2 norm."""
    return values / values.norm()
