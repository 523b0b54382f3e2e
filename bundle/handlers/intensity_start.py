"""The clearest modality starts as a threshold on its own intensities, learnt from the tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import nn

from bundle.pooling import Pooling

BATCH = 64  # slices read at once
ENOUGH = 1024  # slices for two numbers; spread evenly over the data set


@torch.no_grad()
def start_from_intensity(
    networks: Sequence[nn.Module],
    dataset: Any,
    pooling: Pooling,
    normalise: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> None:
    """Set the evidence of one branch to ``w x + b``, x its image.

    Much explains the tags of a few patients: that the lesion is bright, but also which height a slice has and so which
    tissue it shows. A network takes what it comes upon first. The simplest explanation is a threshold, and the tags
    tell which: average, rank and top-share pooling commute with ``w x + b`` for w > 0, so the logistic regression of
    the tags on the pooled image (or its negative, where lesions are dark) is a slice classifier whose evidence is the
    image itself. The modality whose regression has the lowest cross-entropy starts there, with weights 0 from all other
    features, and learns what intensity does not explain; the others start at random and learn from it by CMER. Ours; as
    an offset in logistic regression. No mask is read, and with every seed the start is the same. The slope has
    scikit-learn's default penalty, a standard normal prior, which suits z-scored images.

    To be called before weights are loaded, which then win.

    Args:
        networks: ensembles, wrapped or not; all get the same start. Branches without intensities among their features
            (:class:`bundle.networks.CamUNet` has them on request) stay as they are.
        dataset: training slices, whose ``tags`` are 1 or 0 where items have an ``image`` (K, H, W) and a
            ``foreground`` (1, H, W).
        pooling: of evidence to the slices' logits, as in training.
        normalise: what the network's images (B, K, H, W) go through beforehand, as in training.
    """
    ensembles: list[Any] = [getattr(network, "module", network) for network in networks]
    if not all(_sees_intensities(branch) for ensemble in ensembles for branch in ensemble.branches):
        _tell("its branches do not see intensities at their end: all start at random")
        return
    chosen = np.linspace(0, len(dataset) - 1, min(len(dataset), ENOUGH)).round().astype(int)
    tags = np.asarray(dataset.tags)[chosen]
    pooled = _pooled(dataset, chosen.tolist(), pooling, normalise)
    found = [(*fit, channel) for channel, pair in enumerate(pooled) if (fit := _regress(pair, tags))]
    if not found:
        _tell("no modality tells the tags by being brighter or darker: all start at random")
        return
    _, slope, intercept, channel = min(found)
    for ensemble in ensembles:
        place, within = (0, channel) if len(ensemble.branches) == 1 else (channel, 0)
        branch = ensemble.branches[place]
        weight = branch.evidence.weight
        weight.zero_()
        weight[-1, within - branch.in_channels - 1] = slope  # of the last channel, which says tumour
        weight[-1, -1] = intercept
    side = "above" if slope > 0 else "below"
    _tell(f"{ensembles[0].modalities[channel]} starts as what is {side} {-intercept / slope:.2f}")


def _tell(text: str) -> None:
    if idist.get_rank() == 0:
        print(f"intensity_start: {text}", flush=True)


def _sees_intensities(branch: nn.Module) -> bool:
    """Whether the image is among the last features of a branch, or of the one that it wraps."""
    return bool(getattr(getattr(branch, "branch", branch), "intensity", False))


def _pooled(
    dataset: Any,
    chosen: Sequence[int],
    pooling: Pooling,
    normalise: Callable[[torch.Tensor], torch.Tensor] | None,
) -> np.ndarray:
    """Pooled image and pooled negative of some slices, (K, 2, slices)."""
    rows = []
    for first in range(0, len(chosen), BATCH):
        items = dataset.__getitems__(chosen[first : first + BATCH])
        image = torch.stack([torch.as_tensor(item["image"]) for item in items])
        inside = torch.stack([torch.as_tensor(item["foreground"]) for item in items])
        image = image if normalise is None else normalise(image)
        rows.append(torch.stack([pooling(image, inside), pooling(-image, inside)], dim=-1))
    return torch.cat(rows).permute(1, 2, 0).numpy()


def _regress(pair: np.ndarray, tags: np.ndarray) -> tuple[float, float, float] | None:
    """Cross-entropy, slope and intercept of the better direction, brighter or darker, (2, slices); ``None`` if neither
    tells more than the share of positive tags."""
    if len(np.unique(tags)) < 2:
        return None
    best, share = None, float(log_loss(tags, np.full(len(tags), tags.mean())))
    for sign, values in zip((1.0, -1.0), pair, strict=True):
        model = LogisticRegression().fit(values[:, None], tags)
        slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
        entropy = float(log_loss(tags, model.predict_proba(values[:, None])))
        if slope > 0 and entropy < min(share, best[0] if best else np.inf):
            best = (entropy, sign * slope, intercept)
    return best
