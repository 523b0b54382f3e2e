"""Which slices an epoch shows, whatever the size of the data set."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import torch
from torch.utils.data import DistributedSampler


class EpochSampler(DistributedSampler):
    """Slices in random order, a fixed number an epoch, so that steps, ramp and rate mean the same for any data set.

    All slices are shown once before any comes again: an epoch takes the next `epoch_slices` of an endless row of
    shuffled passes. What it takes depends on seed and epoch alone, so a resumed run goes on as an undisturbed one, and
    ranks share it evenly. MONAI's and torch's samplers of a given length draw with replacement or start anew.

    Args:
        dataset: with a length.
        epoch_slices: slices an epoch, over all ranks; ``None`` or 0: each once (paper).
        options: ``num_replicas``, ``rank`` and ``seed`` of torch's ``DistributedSampler``.

    Raises:
        ValueError: `epoch_slices` is negative.
    """

    def __init__(self, dataset: Sized, epoch_slices: int | None = None, **options: Any) -> None:
        if epoch_slices is not None and epoch_slices < 0:
            raise ValueError(f"epoch_slices: expected a number from 0 up, got {epoch_slices}")
        super().__init__(dataset, shuffle=True, **options)  # type: ignore[arg-type]  # only its length is asked
        self.epoch_slices = epoch_slices or None
        if epoch_slices:
            self.num_samples = -(-epoch_slices // self.num_replicas)

    def __iter__(self) -> Iterator[int]:
        if self.epoch_slices is None:
            yield from super().__iter__()
            return
        size = len(self.dataset)  # type: ignore[arg-type]
        first = self.epoch * self.num_samples * self.num_replicas
        order: dict[int, list[int]] = {}
        for position in range(
            first + self.rank, first + self.num_samples * self.num_replicas, self.num_replicas
        ):
            passed, index = divmod(position, size)
            if passed not in order:
                generator = torch.Generator().manual_seed(self.seed + passed)
                order = {passed: torch.randperm(size, generator=generator).tolist()}
            yield order[passed][index]
