"""Whole volumes, slice by slice in batches: what CAM, Grad-CAM and Grad-CAM++ have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from torch import nn

from bundle.inferers.averaged import AveragedViews
from bundle.inferers.carried import with_foreground
from bundle.inferers.precision import autocast
from bundle.inferers.reading import CamReader
from bundle.networks import trust_of

GATES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "class": lambda logits: (logits > 0).to(logits.dtype),
    "probability": torch.sigmoid,
    "none": torch.ones_like,
}


class VolumeInferer(Inferer):
    """Maps and slice logits of volumes whose slices lie along the last axis.

    MONAI's ``SliceInferer`` blends one tensor of maps; here logits come along, so the loop is spelt out.

    Args:
        reader: evidence to logits and maps, the one that training used.
        normalise: called on each batch of slices before the network (paper: per slice); ``None`` for none.
        batch_size: slices per forward pass.
        gate: how a branch's map depends on its own prediction for the slice: ``"class"`` keeps it only where the
            branch says tumour (paper), ``"probability"`` multiplies it by the branch's probability of tumour, so
            that an unsure branch weighs less in the fused map, ``"none"`` leaves it.
        precision: see :class:`bundle.inferers.TwoViewInferer`.
        average_views: further views of each slice that the evidence is averaged over, as
            :class:`bundle.inferers.AveragedViews` has them; none by default.

    Attributes:
        shown: what the maps are, for pictures.
    """

    shown = "CAM"

    def __init__(
        self,
        reader: CamReader,
        normalise: Callable[[torch.Tensor], torch.Tensor] | None = None,
        batch_size: int = 16,
        gate: str = "class",
        precision: str = "float32",
        average_views: Sequence[Any] | str = (),
    ) -> None:
        super().__init__()
        if gate not in GATES:
            raise ValueError(f"gate: expected one of {', '.join(GATES)}, got {gate!r}")
        self.reader, self.normalise = reader, normalise
        self.batch_size, self.gate, self.precision = batch_size, gate, precision
        self.average_views = average_views

    @abstractmethod
    def read(
        self, image: torch.Tensor, network: nn.Module, foreground: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Slices (B, K, H, W) and foreground (B, 1, H, W) to maps in [0, 1], (B, N, H, W), and logits (B, N)."""

    def __call__(  # type: ignore[override]  # `foreground` comes by name, from the trainer's prepare_batch
        self,
        inputs: torch.Tensor,
        network: nn.Module,
        foreground: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, torch.Tensor]:
        """Run all slices of a batch of volumes; the network's mode is what the caller set.

        Args:
            inputs: (B, K, H, W, S).
            network: image (b, K, H, W) to evidence (b, N * C, H, W).
            foreground: (B, 1, H, W, S); without it, the one that the inputs carry, see
                :class:`bundle.inferers.CarryForegroundd`.

        Returns:
            ``cam`` in [0, 1], (B, N, H, W, S), ``logits``, the slices' log odds of tumour, (B, N, S), and ``trust``,
            how far each branch is trusted, (B, N). With one volume, the maps' slices lie one after another in memory.
        """
        inputs, foreground = with_foreground(inputs, foreground)
        cams, logits = [], []
        reading = self.reading(network)
        with torch.no_grad():
            for image, inside in zip(inputs, foreground, strict=True):
                volume, volume_logits = self._volume(image, reading, inside)
                cams.append(volume)
                logits.append(volume_logits)
        found = {
            "cam": cams[0][None] if len(cams) == 1 else torch.stack(cams),
            "logits": torch.stack(logits),
        }
        trust = trust_of(network)
        return found if trust is None else {**found, "trust": trust.expand(len(inputs), -1)}

    def reading(self, network: nn.Module) -> nn.Module:
        """What `slices` runs in the network's place: itself, or its average over views."""
        return AveragedViews(network, self.average_views) if self.average_views else network

    def slices(
        self, image: torch.Tensor, network: nn.Module, foreground: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Slices (B, K, H, W) and foreground (B, 1, H, W) to gated maps in [0, 1], (B, N, H, W), and logits (B, N)."""
        if self.normalise is not None:
            image = self.normalise(image)
        cam, logits = self.read(image, network, foreground)
        return cam * GATES[self.gate](logits)[:, :, None, None], logits

    def _volume(
        self, image: torch.Tensor, network: nn.Module, inside: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        slices, masks = image.permute(3, 0, 1, 2), inside.permute(3, 0, 1, 2)
        maps: torch.Tensor | None = None
        logits: list[torch.Tensor] = []
        for start in range(0, len(slices), self.batch_size):
            part, mask = slices[start : start + self.batch_size], masks[start : start + self.batch_size]
            part = part.contiguous(memory_format=torch.channels_last)
            cam, part_logits = self.slices(part, network, mask.contiguous())
            if maps is None:  # filled in place, so that no second copy of the volume is held
                maps = cam.new_empty((len(slices), *cam.shape[1:]))
            maps[start : start + len(part)] = cam
            logits.append(part_logits)
        assert maps is not None
        return maps.permute(1, 2, 3, 0), torch.cat(logits).T

    def evidence(self, image: torch.Tensor, network: nn.Module) -> torch.Tensor:
        """The network's output in single precision at least."""
        with autocast(image.device, self.precision):
            evidence = network(image)
        return evidence.float() if evidence.dtype in (torch.bfloat16, torch.float16) else evidence
