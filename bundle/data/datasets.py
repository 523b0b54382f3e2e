"""What the training and the inference read: single slices with their tag, or one whole case at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from bundle.data.cache import PreparedCase, write_case
from bundle.data.case_items import case_item, check_size
from bundle.data.datalists import is_prepared_case, raw_record
from bundle.data.grids import Grid
from bundle.data.labels import SEGMENTER_VOLUME_METHOD, VOLUME_METHOD, read_label
from bundle.data.modality_names import usable_modalities
from bundle.data.names import name_list
from bundle.data.recipe import image_recipe
from bundle.data.records import CaseRecord
from bundle.data.tag_share import share_of_tags
from bundle.data.volumes import read_case

Transform = Callable[[dict[str, Any]], dict[str, Any]]


class SliceDataset(Dataset):
    """Slices of many cases with their tags, read through memory maps; it never yields a mask.

    An item is ``{"image": float32 (K, H, W), "foreground": float32 (1, H, W) of 0 and 1, "label": float32 (),
    1 positive, 0 negative, -1 untagged, "statistics": float32 (K, 4): low, high, mean, std of the volume's
    foreground, "case": str, "slice": int}``, after `transform`.

    Args:
        data: entries of a datalist, prepared or raw (see `bundle.data.datalists`). `label` is a case.json,
            a JSON file of tags, or a mask, of which only the tags are kept.
        modalities: names, in the order of the network's channels; ``flair,t1c`` is a list, too.
        cache_dir: where raw entries are prepared on first use.
        spatial_size: side of the slices; checked on prepared cases, used for raw ones.
        transform: applied to each item.
        tagged_only: leave out untagged and blank slices, as training does.
        reference: modality whose grid the others are resampled onto, for raw entries.
        affines_from_reference: trust the reference's affine where headers disagree, for raw entries.
        tag_share: share of the tags that is used, in (0, 1]; the other slices count as untagged. Which ones, depends
            on `tag_seed` alone, and a smaller share is part of a larger one.
        tag_seed: of that choice.

    Raises:
        ValueError: sizes or modalities do not fit, the share is none, or (`tagged_only`) no slice is positive or none
            negative.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        modalities: Sequence[str] | str,
        cache_dir: str | Path | None = None,
        spatial_size: int | None = None,
        transform: Transform | None = None,
        tagged_only: bool = True,
        reference: str | None = None,
        affines_from_reference: bool = False,
        tag_share: float = 1.0,
        tag_seed: int = 0,
    ) -> None:
        self.modalities = name_list(modalities)
        self.transform = transform
        options: dict[str, Any] = {"reference": reference, "affines_from_reference": affines_from_reference}
        self.cases: list[PreparedCase] = []
        tags: list[np.ndarray] = []
        for entry in data:
            if is_prepared_case(entry["image"]):
                case = PreparedCase.open(entry["image"])
                check_size(case, spatial_size)
            else:
                case = _cached(
                    raw_record(entry, self.modalities, reference),
                    self.modalities,
                    cache_dir,
                    spatial_size,
                    options,
                )
            self.cases.append(case)
            tags.append(self._tags_of(case, entry.get("label"), affines_from_reference))
        tags = self._share(tags, tag_share, tag_seed)
        self._check_cases()
        self._channels = [case.channels(self.modalities) for case in self.cases]
        rows = [case.statistics[channels] for case, channels in zip(self.cases, self._channels, strict=True)]
        self._statistics = torch.from_numpy(np.stack(rows))
        kept = [
            np.flatnonzero((t >= 0) & ~case.blank) if tagged_only else np.arange(case.slices)
            for t, case in zip(tags, self.cases, strict=True)
        ]
        self.case_index = np.repeat(np.arange(len(kept)), [len(k) for k in kept])
        self.slice_index = np.concatenate(kept)
        self.tags = np.concatenate([t[k] for t, k in zip(tags, kept, strict=True)]).astype(np.int8)
        if tagged_only:
            self._check_tags()

    def __len__(self) -> int:
        return len(self.tags)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Items of a whole batch, which share one block of memory."""
        size = self.cases[0].image.shape[-1]
        images = torch.empty((len(indices), len(self.modalities), size, size))
        foregrounds = torch.empty((len(indices), 1, size, size))
        image_rows, foreground_rows = images.numpy(), foregrounds.numpy()
        items = []
        for row, index in enumerate(indices):
            number, position = int(self.case_index[index]), int(self.slice_index[index])
            case = self.cases[number]
            image_rows[row] = case.image[position][self._channels[number]]
            foreground_rows[row, 0] = case.foreground[position]
            item = {
                "image": images[row],
                "foreground": foregrounds[row],
                "label": torch.tensor(float(self.tags[index])),
                "statistics": self._statistics[number].clone(),
                "case": case.case,
                "slice": position,
            }
            items.append(item if self.transform is None else self.transform(item))
        return items

    def _tags_of(self, case: PreparedCase, label: Any, headers_differ: bool) -> np.ndarray:
        """Tags of a case's slices, (S,) of 1, 0 and -1."""
        return _tags(case, label, headers_differ)

    def _share(self, tags: list[np.ndarray], share: float, seed: int) -> list[np.ndarray]:
        """The same tags but for what the share takes away."""
        return share_of_tags(tags, [case.blank for case in self.cases], share, seed)

    def _check_cases(self) -> None:
        if not self.cases:
            raise ValueError(
                "the datalist is empty, expected at least one case; check the split or the datalist"
            )
        first = self.cases[0]
        seen: set[str] = set()
        for case in self.cases:
            if case.case in seen:
                raise ValueError(
                    f"case {case.case}: the datalist names it twice; drop one, "
                    "or give each entry its own `case`"
                )
            seen.add(case.case)
            if case.geometry.size != first.geometry.size:
                raise ValueError(
                    f"case {case.case}: its slices are {case.geometry.size} pixels wide, "
                    f"those of case {first.case} {first.geometry.size}; prepare all with one --spatial_size"
                )

    def _check_tags(self) -> None:
        for tag, name in ((1, "positive"), (0, "negative")):
            if not (self.tags == tag).any():
                raise ValueError(
                    f"no {name} slice among the {len(self.cases)} cases, expected at least one; add tags "
                    "(--tags CSV or --tags_from_masks of scripts.prepare_data, `label` of a datalist); tags of whole "
                    f"volumes are learnt from by configs/{VOLUME_METHOD}.yaml alone, and a segmenter is validated on "
                    f"them by configs/{SEGMENTER_VOLUME_METHOD}.yaml"
                )


class CaseDataset(Dataset):
    """Whole cases for inference, prepared or raw; raw ones are prepared in memory and nothing is written.

    An item is ``{"image": float32 (K, H, W, S), "foreground": float32 (1, H, W, S), "statistics": float32
    (K, 4), "geometry": SliceGeometry, "case": str, "truth": path of the mask or ``""``,
    "blank": bool (S,), "available": bool (K,)}``, after `transform`. In memory the slices lie one after another.

    A modality whose file is missing, or that a case was not prepared with, is a channel of 0 and not available; a
    warning names it. If that of the `reference` is missing, the first modality there gives the grid.

    Args:
        data: entries of a datalist, prepared or raw.
        modalities: names, in the order of the network's channels; ``flair,t1c`` is a list, too.
        spatial_size: side of the slices; checked on prepared cases, used for raw ones.
        transform: applied to each item.
        reference: modality whose grid the others are resampled onto, for raw entries.
        affines_from_reference: trust the reference's affine where headers disagree, for raw entries.
        available: those of the modalities that may be used, the rest counts as missing; ``None`` for all.

    Raises:
        ValueError: `available` names another modality.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        modalities: Sequence[str] | str,
        spatial_size: int | None = None,
        transform: Transform | None = None,
        reference: str | None = None,
        affines_from_reference: bool = False,
        available: Sequence[str] | str | None = None,
    ) -> None:
        self.data = list(data)
        self.modalities = name_list(modalities)
        self.usable = usable_modalities(available, self.modalities)
        self.spatial_size = spatial_size
        self.transform = transform
        self.options: dict[str, Any] = {
            "reference": reference,
            "affines_from_reference": affines_from_reference,
        }

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = case_item(self.data[index], self.modalities, self.usable, self.spatial_size, **self.options)
        return item if self.transform is None else self.transform(item)


def _cached(
    record: CaseRecord,
    modalities: list[str],
    cache_dir: str | Path | None,
    spatial_size: int | None,
    options: dict[str, Any],
) -> PreparedCase:
    """The prepared form of a raw case, made now unless the cache has it."""
    if cache_dir is None:
        raise ValueError(
            f"case {record.case}: a raw case is prepared on first use, but `cache_dir` is not set; set it"
        )
    sources = [str(record.images[m].path.resolve()) for m in modalities]
    place = Path(cache_dir) / hashlib.sha256("\n".join(sources).encode()).hexdigest()[:12]
    recipe = image_recipe(record, modalities, spatial_size, **options)
    folder = place / "cases" / record.case
    if not is_prepared_case(folder) or PreparedCase.open(folder).described.get("recipe") != recipe:
        volumes = read_case(record, modalities, **options)
        write_case(
            place,
            volumes,
            None,
            spatial_size,
            None,
            dict(zip(modalities, sources, strict=True)),
            {"recipe": recipe},
        )
    return PreparedCase.open(folder)


def _tags(case: PreparedCase, label: Any, headers_differ: bool) -> np.ndarray:
    """Tags of a case: its own, unless the entry's label is another file."""
    if label is None or Path(label) == case.path / "case.json":
        return case.tags
    grid = None if headers_differ else Grid(case.geometry.shape, case.geometry.affine)
    return read_label(label, case.slices, case.case, grid)
