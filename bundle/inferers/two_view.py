"""The training pass: the same slices twice, plain and warped, through every branch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from torch import nn

from bundle.data.augmentation import Augmentation
from bundle.equivariance import Evidence, Views, Warp, WarpPolicy
from bundle.inferers.precision import autocast
from bundle.inferers.reading import CamReader
from bundle.networks import trust_of


class TwoViewInferer(Inferer):
    """Gives the stock ``SupervisedTrainer`` both views (Patel and Dolz 2022, Algorithm 1) for the joint loss.

    Args:
        policy: draws pi, the same for all modalities and maps. ``None``: the slices are seen once, as they are,
            and both views are that one (plain CAM, full supervision).
        reader: evidence to logits and maps.
        normalise: called on each view's image after the warp (paper: per slice); ``None`` if the data are
            normalised already.
        seed: of the policy.
        views_in_one_batch: one forward pass of 2 B slices instead of two of B; batch normalisation then sees
            both views together.
        precision: ``float32``, ``bfloat16``, or ``auto``: bfloat16 where the device computes it natively.
        augmentation: changes a batch's intensities, called as ``augmentation(image, foreground)`` before the views
            part, so that both share the change; ``None`` for none.
        plain_view: without it the network sees the warped view alone, which stands for both. For losses that warp
            their labels along (:class:`bundle.losses.SelfTrainingLoss`): half the time a step.
    """

    def __init__(
        self,
        policy: WarpPolicy | None,
        reader: CamReader,
        normalise: Callable[[torch.Tensor], torch.Tensor] | None = None,
        seed: int = 0,
        views_in_one_batch: bool = False,
        precision: str = "float32",
        augmentation: Augmentation | None = None,
        plain_view: bool = True,
    ) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.policy, self.reader, self.normalise = policy, reader, normalise
        if self.policy is not None:
            self.policy.set_random_state(seed)
        self.views_in_one_batch, self.precision, self.plain_view = views_in_one_batch, precision, plain_view

    def __call__(  # type: ignore[override]  # `foreground` comes by name, from the trainer's prepare_batch
        self, inputs: torch.Tensor, network: nn.Module, foreground: torch.Tensor, *args: Any, **kwargs: Any
    ) -> Views:
        """Images (B, K, H, W) and foreground (B, 1, H, W) to the two views."""
        if self.augmentation is not None:
            inputs = self.augmentation(inputs, foreground)
        if self.policy is None:
            return self._one_view(inputs, network, foreground, Warp.identity(len(inputs)))
        warp = self.policy.draw(len(inputs))
        warped_inputs = warp.apply(inputs)
        warped_foreground = (warp.apply(foreground) > 0.5).to(foreground.dtype)
        if not self.plain_view:
            return self._one_view(warped_inputs, network, warped_foreground, warp)
        plain, warped = self._normalised(inputs), self._normalised(warped_inputs)
        field_of_view = warp.field_of_view(inputs)
        with autocast(inputs.device, self.precision):
            if self.views_in_one_batch:
                evidence, warped_evidence = network(torch.cat([plain, warped])).chunk(2)
            else:
                evidence, warped_evidence = network(plain), network(warped)
        evidence, warped_evidence = _full_precision(evidence), _full_precision(warped_evidence)
        return Views(
            plain_logits=self.reader.logits(evidence, foreground),
            warped_logits=self.reader.logits(warped_evidence, warped_foreground, field_of_view),
            plain_cams=warp.apply(self.reader.cams(evidence, foreground)),
            warped_cams=self.reader.cams(warped_evidence, warped_foreground, field_of_view),
            field_of_view=field_of_view,
            evidence=Evidence(evidence, warped_evidence, warp),
            trust=trust_of(network),
        )

    def _one_view(
        self, inputs: torch.Tensor, network: nn.Module, foreground: torch.Tensor, warp: Warp
    ) -> Views:
        """What `warp` made of images and foreground, as both views."""
        with autocast(inputs.device, self.precision):
            evidence = network(self._normalised(inputs))
        evidence = _full_precision(evidence)
        seen = warp.field_of_view(inputs)
        logits, cams = (
            self.reader.logits(evidence, foreground, seen),
            self.reader.cams(evidence, foreground, seen),
        )
        views = Evidence(evidence, evidence, warp)
        return Views(logits, logits, cams, cams, seen, views, trust_of(network))

    def _normalised(self, image: torch.Tensor) -> torch.Tensor:
        return image if self.normalise is None else self.normalise(image)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The policy's random state as tensors, so that ``torch.load(weights_only=True)`` takes it; empty without."""
        if self.policy is None:
            return {}
        _, keys, position, has_gauss, gauss = self.policy.R.get_state()
        return {
            "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "position": torch.tensor([position, has_gauss]),
            "gauss": torch.tensor(gauss, dtype=torch.float64),
        }

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Continue the draws from a state that :meth:`state_dict` gave."""
        if self.policy is None:
            return
        position, has_gauss = state["position"].tolist()
        keys = state["keys"].numpy().astype(np.uint32)
        self.policy.R.set_state(("MT19937", keys, position, has_gauss, float(state["gauss"])))


def _full_precision(evidence: torch.Tensor) -> torch.Tensor:
    """Half precision ends here; float64 stays (the equality test against separate rounds needs it)."""
    return evidence.float() if evidence.dtype in (torch.bfloat16, torch.float16) else evidence
