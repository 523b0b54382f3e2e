"""Tags of whole volumes: a volume as a bag of slices, of which some are drawn for each step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DistributedSampler

from bundle.data.cache import PreparedCase
from bundle.data.datasets import SliceDataset
from bundle.data.labels import UNTAGGED, volume_tag_of
from bundle.data.tag_share import random_share


class VolumeTagDataset(SliceDataset):
    """The slices of `SliceDataset`, each with the tag of its whole volume; which slices were tagged stays unknown.

    ``label`` 0: no slice of the volume shows the target. 1: some do, so a slice may be either. Needs what knows that:
    the sampler, the loss and the metric of ``configs/method_volume_tags.yaml``. A case without a tag is left out.

    Args:
        data: entries of a datalist. A volume's tag is the one it was given (``case,tag``), or what its slices' tags
            say: 1 if one is positive, 0 if all are negative.
        options: those of `SliceDataset`, by name; `tag_share` counts volumes.
    """

    def _tags_of(self, case: PreparedCase, label: Any, headers_differ: bool) -> np.ndarray:
        """The volume's tag for each slice."""
        if label is None or Path(label) == case.path / "case.json":
            tag = case.volume_tag
        else:
            tag = volume_tag_of(super()._tags_of(case, label, headers_differ), case.blank)
        return np.full(case.slices, UNTAGGED if tag is None else tag, dtype=np.int8)

    def _share(self, tags: list[np.ndarray], share: float, seed: int) -> list[np.ndarray]:
        """The same arrays with the tags of all volumes but a random share taken away."""
        chosen = random_share(np.array([(t >= 0).any() for t in tags], dtype=bool), share, seed)
        return [t if used else np.full_like(t, UNTAGGED) for t, used in zip(tags, chosen, strict=True)]


class BagSampler(DistributedSampler):
    """Draws bags: `slices_per_bag` slices of one volume after another, spread evenly over it.

    A volume is cut into as many equal parts as a bag has slices, and each part gives one slice at random, anew in each
    epoch: a bag stands for the volume, and a lesion as long as two parts is never missed. A volume with fewer slices
    repeats some. Positive and negative volumes come equally often, and an epoch shows about as many slices as there
    are. As bags lie side by side, a `batch_size` that is a multiple of `slices_per_bag` holds whole ones. Which bag
    holds what depends on seed and epoch alone; processes share the bags out.

    Args:
        dataset: a `VolumeTagDataset`.
        slices_per_bag: number of slices; the loss must be told the same.
        batch_size: of the loader, checked.
        num_replicas: number of processes.
        rank: of this process.
        shuffle: whether bags come in random order.
        seed: of order and slices.

    Raises:
        ValueError: if `batch_size` holds no whole number of bags.
    """

    def __init__(
        self,
        dataset: SliceDataset,
        slices_per_bag: int,
        batch_size: int,
        num_replicas: int = 1,
        rank: int = 0,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        if slices_per_bag < 1 or batch_size % slices_per_bag:
            raise ValueError(
                f"batch_size is {batch_size}, expected a multiple of slices_per_bag, {slices_per_bag}, so that each "
                "batch holds whole bags; change one of them"
            )
        self.slices_per_bag = slices_per_bag
        self.bags = _balanced_bags(dataset, slices_per_bag)
        super().__init__(self.bags, num_replicas, rank, shuffle, seed)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        for bag in super().__iter__():
            yield from self._draw(bag)

    def __len__(self) -> int:
        return super().__len__() * self.slices_per_bag

    def _draw(self, bag: int) -> list[int]:
        """Indices of the data set, one of each of as many equal parts of the volume."""
        rows, count = self.bags[bag], self.slices_per_bag
        within = np.random.default_rng([self.seed, self.epoch, bag]).random(count)
        return list(rows[((np.arange(count) + within) * len(rows) / count).astype(int)])


def _balanced_bags(dataset: SliceDataset, slices_per_bag: int) -> Sequence[np.ndarray]:
    """Rows of the data set of each bag's volume; both tags equally often."""
    volumes = [np.flatnonzero(dataset.case_index == number) for number in np.unique(dataset.case_index)]
    kinds = [[rows for rows in volumes if dataset.tags[rows[0]] == tag] for tag in (1, 0)]
    wanted = len(dataset) / slices_per_bag / 2
    each = max(
        *map(len, kinds), round(wanted)
    )  # the data set holds both kinds, or it would not have been made
    return [kind[index % len(kind)] for kind in kinds for index in range(each)]
