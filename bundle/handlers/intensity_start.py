"""The clearest modality starts as a threshold on its own intensities, learnt from the tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import nn

from bundle.pooling import Pooling

BATCH = 64  # slices read at once


class IntensityStart:
    """Sets the evidence of one branch to ``w x + b``, x its image, before the first step.

    Much explains the tags of a few patients: that the lesion is bright, but also which height a slice has and so which
    tissue it shows. A network takes what it comes upon first. The simplest explanation is a threshold, and the tags
    tell which: rank pooling commutes with ``w x + b`` for w > 0, so the logistic regression of the tags on the pooled
    image (or its negative, where lesions are dark) is at once the best slice classifier of this kind and its CAM. The
    modality whose regression has the lowest cross-entropy starts there, with weights 0 from all other features, and
    learns what intensity does not explain; the other branches start at random and learn from it by CMER. Ours; as an
    offset in logistic regression. No mask is read, and on every rank and with every seed the start is the same.

    Args:
        networks: ensembles, wrapped or not; all get the same start. Branches without intensities among their features
            (:class:`bundle.networks.CamUNet` has them on request) stay as they are.
        dataset: training slices, whose ``tags`` are 1 or 0 where items have an ``image`` (K, H, W).
        pooling: of evidence to the slices' logits, as in training.
    """

    def __init__(self, networks: Sequence[nn.Module], dataset: Any, pooling: Pooling) -> None:
        self.networks: list[Any] = [getattr(network, "module", network) for network in networks]
        self.dataset, self.pooling = dataset, pooling

    def attach(self, engine: Engine) -> None:
        """Set the start before the trainer's first epoch; a run that goes on takes its own weights afterwards."""
        engine.add_event_handler(Events.STARTED, self)

    @torch.no_grad()
    def __call__(self, engine: Engine) -> None:
        if not all(_sees_intensities(branch) for network in self.networks for branch in network.branches):
            return
        pooled = self._pooled()
        found = [
            (*fit, channel) for channel, pair in enumerate(pooled) if (fit := _regress(pair, self._tags()))
        ]
        if not found:  # no modality tells the tags by being brighter or darker
            return
        _, slope, intercept, channel = min(found)
        for network in self.networks:
            place, within = (0, channel) if len(network.branches) == 1 else (channel, 0)
            branch = network.branches[place]
            weight = branch.evidence.weight
            weight.zero_()
            weight[-1, within - branch.in_channels - 1] = slope  # of the last channel, which says tumour
            weight[-1, -1] = intercept

    def _tags(self) -> np.ndarray:
        return np.asarray(self.dataset.tags)

    def _pooled(self) -> np.ndarray:
        """Each slice's pooled image and pooled negative, (K, 2, slices)."""
        rows = []
        for first in range(0, len(self.dataset), BATCH):
            items = self.dataset.__getitems__(range(first, min(first + BATCH, len(self.dataset))))
            image = torch.stack([torch.as_tensor(item["image"]) for item in items])
            inside = torch.stack([torch.as_tensor(item["foreground"]) for item in items])
            rows.append(torch.stack([self.pooling(image, inside), self.pooling(-image, inside)], dim=-1))
        return torch.cat(rows).permute(1, 2, 0).numpy()


def _sees_intensities(branch: nn.Module) -> bool:
    """Whether the image is among the last features of a branch, or of the one that it wraps."""
    return bool(getattr(getattr(branch, "branch", branch), "intensity", False))


def _regress(pair: np.ndarray, tags: np.ndarray) -> tuple[float, float, float] | None:
    """Cross-entropy, slope and intercept of the better direction, brighter or darker, (2, slices); ``None`` if neither
    tells more than the share of positive tags."""
    best, share = None, float(log_loss(tags, np.full(len(tags), tags.mean())))
    for sign, values in zip((1.0, -1.0), pair, strict=True):
        model = LogisticRegression().fit(values[:, None], tags)
        slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
        entropy = float(log_loss(tags, model.predict_proba(values[:, None])))
        if slope > 0 and entropy < min(share, best[0] if best else np.inf):
            best = (entropy, sign * slope, intercept)
    return best
