"""Networks, readers and slices small enough to train in a test."""

from __future__ import annotations

from functools import partial

import torch

from bundle.equivariance import Evidence, Views, Warp
from bundle.inferers import CamReader
from bundle.losses import (
    ClassificationLoss,
    CrossModalityEquivarianceLoss,
    DistillationLoss,
    EquivarianceLoss,
    JointLoss,
)
from bundle.networks import BranchEnsemble, CamUNet, Readout
from bundle.pooling import Pooling, RankPooling

MODALITIES = ("t1", "t1c", "t2", "flair")
SIDE = 16


def tiny_network(branches: int = 2, seed: int = 0, **options) -> BranchEnsemble:
    """An ensemble of U-Nets of width 2 with one pooling."""
    torch.manual_seed(seed)
    return BranchEnsemble(MODALITIES[:branches], partial(CamUNet, **{"width": 2, "levels": 1, **options}))


def tiny_reader(pooling: Pooling | None = None, head_channels: int = 1, **options) -> CamReader:
    """Rank-weighted pooling in the foreground, as by default."""
    return CamReader(Readout(head_channels), pooling or RankPooling(), **options)


def tiny_slices(
    branches: int = 2, count: int = 4, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images (B, K, H, W) with a bright square in every second one, foreground (B, 1, H, W) and tags (B,)."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(count, branches, SIDE, SIDE, generator=generator, dtype=dtype)
    foreground = torch.zeros(count, 1, SIDE, SIDE, dtype=dtype)
    foreground[..., 2:14, 3:15] = 1
    tags = torch.arange(count, dtype=dtype) % 2
    image[1::2, :, 4:9, 5:10] += 2
    return image * foreground, foreground, tags


def tiny_loss(temperature: float = 10.0) -> JointLoss:
    """All four terms, weighted as by default."""
    return JointLoss(
        {
            "classification": {"loss": ClassificationLoss(), "weight": 1.0},
            "er": {"loss": EquivarianceLoss(), "weight": 1.0},
            "kd": {"loss": DistillationLoss(temperature), "weight": 0.5},
            "cmer": {"loss": CrossModalityEquivarianceLoss(), "weight": 1.0},
        }
    )


def tiny_views(
    branches: int = 2, batch: int = 3, side: int = 6, seed: int = 0, full_field_of_view: bool = False
) -> tuple[Views, torch.Tensor]:
    """Random views in float64 that ask for gradients, and tags: positive but for the second slice.

    Evidence has two channels a branch, the second in [0, 1] like a refined map.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    maps, logits = (batch, branches, side, side), (batch, branches)
    views = Views(
        plain_logits=(4 * draw(*logits) - 2).requires_grad_(),
        warped_logits=(4 * draw(*logits) - 2).requires_grad_(),
        plain_cams=draw(*maps).requires_grad_(),
        warped_cams=draw(*maps).requires_grad_(),
        field_of_view=torch.ones(batch, 1, side, side, dtype=torch.float64),
        evidence=Evidence(
            draw(batch, 2 * branches, side, side).requires_grad_(),
            draw(batch, 2 * branches, side, side).requires_grad_(),
            Warp.identity(batch),
        ),
    )
    if not full_field_of_view:
        views.field_of_view[:, :, :, -2:] = 0
        views.field_of_view[0, :, 0] = 0
    tags = torch.ones(batch, dtype=torch.float64)
    tags[1:2] = 0
    return views, tags


def refined_views(
    cams: tuple[torch.Tensor, torch.Tensor], refined: tuple[torch.Tensor, torch.Tensor]
) -> Views:
    """Views of given maps (B, N, H, W), the plain view's and the warped one's, and of their refinement, unwarped."""
    evidence = (torch.stack([torch.zeros_like(map_), map_], dim=2).flatten(1, 2) for map_ in refined)
    logits, inside = torch.zeros(cams[0].shape[:2]), torch.ones_like(cams[0][:, :1])
    return Views(logits, logits, *cams, inside, Evidence(*evidence, Warp.identity(len(cams[0]))))


def inputs_of(views: Views) -> list[torch.Tensor]:
    """The tensors of both views that may receive gradients."""
    return [views.plain_logits, views.warped_logits, views.plain_cams, views.warped_cams]


def gradients(value: torch.Tensor, views: Views) -> list[torch.Tensor]:
    """Gradient of a loss in each of :func:`inputs_of`, 0 where it has none."""
    found = torch.autograd.grad(value, inputs_of(views), allow_unused=True, retain_graph=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs_of(views), strict=True)]
