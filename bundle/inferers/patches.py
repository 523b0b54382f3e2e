"""Whole volumes through a network of three dimensions, patch by patch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from torch import nn

from bundle.data import name_list
from bundle.inferers.probability import ProbabilityInferer
from bundle.inferers.reading import CamReader


class PatchProbabilityInferer(ProbabilityInferer):
    """`ProbabilityInferer` for networks of patches: MONAI's sliding window, blended by a Gaussian.

    The evidence of overlapping patches is averaged in logits; maps and slice logits are read off it slice by slice, as
    they are off a network of slices. A volume smaller than a patch is padded with 0, and the padding cut off.

    Args:
        reader: evidence to logits and maps, the one that training used.
        patch_size: voxels a window: rows, columns, slices; that of the training, as a rule.
        overlap: share of a window that the next one covers again, in [0, 1).
        normalise: called on each patch before the network; ``None`` for none.
        batch_size: windows per forward pass.
        average_views: not for patches.
        options: ``gate`` and ``precision`` of `VolumeInferer`.

    Raises:
        ValueError: for any of `average_views`.
    """

    def __init__(
        self,
        reader: CamReader,
        patch_size: Sequence[int],
        overlap: float = 0.25,
        normalise: Callable[[torch.Tensor], torch.Tensor] | None = None,
        batch_size: int = 1,
        average_views: Sequence[Any] | str = (),
        **options: Any,
    ) -> None:
        if name_list(average_views):
            raise ValueError(
                f"average_views: expected none with a network of patches, got {name_list(average_views)}; windows "
                f"overlap instead (`overlap`)"
            )
        super().__init__(reader, batch_size=batch_size, **options)
        self.window = SlidingWindowInferer(tuple(patch_size), batch_size, overlap, mode="gaussian")
        self.normalise_patch = normalise

    def _volume(
        self, image: torch.Tensor, network: nn.Module, inside: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        def predict(patches: torch.Tensor) -> torch.Tensor:
            return self.evidence(
                patches if self.normalise_patch is None else self.normalise_patch(patches), network
            )

        evidence = self.window(image[None], predict)
        assert isinstance(evidence, torch.Tensor)
        return super()._volume(evidence[0], nn.Identity(), inside)


class PatchTagInferer(Inferer):
    """Logits of the slices of volumes or slabs, for validation on held-out tags.

    Args:
        reader: evidence to logits, the one that training uses.
        options: those of `PatchProbabilityInferer`, by name.
    """

    def __init__(self, reader: CamReader, **options: Any) -> None:
        super().__init__()
        self.volume = PatchProbabilityInferer(reader, **options)

    def __call__(  # type: ignore[override]  # `foreground` comes by name, from the trainer's prepare_batch
        self, inputs: torch.Tensor, network: nn.Module, foreground: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Images (B, K, H, W, S) and foreground (B, 1, H, W, S) to log odds of tumour, (B, S, N)."""
        return self.volume(inputs, network, foreground)["logits"].movedim(1, 2)
