"""Random 3D patches with the masks that an earlier stage drew: self-training in three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose
from monai.transforms.utils import generate_pos_neg_label_crop_centers
from monai.utils import convert_to_tensor

from bundle.data.pseudo_labels import IGNORED, PseudoLabelSliceDataset
from bundle.data.slabs import padded, read_block

VOLUMES = ("image", "foreground", "label")


class PseudoLabelPatchDataset(PseudoLabelSliceDataset):
    """Patches of whole cases, labelled slice by slice as `PseudoLabelSliceDataset` labels them; no mask is read.

    An item is ``{"image": float32 (K, H, W, D), "foreground": float32 (1, H, W, D), "label": float32 (1, H, W, D): 1
    tumour, 0 not, -1 ignored, "statistics": float32 (K, 4), "case": str}``, after `transform` and `geometry`. As
    MONAI's ``RandCropByPosNegLabeld`` does, whose way of drawing is used, a patch is centred on a voxel of the pseudo
    tumour or of the foreground; but only the patch is read, not the case. Slices that have no label (blank ones), what
    lies outside the scan and what `geometry` brings in from outside are ignored.

    A number of patches is given: item i is one and the same patch, drawn from seed and i alone, so an interrupted
    training goes on with those that an undisturbed one would see, and nothing needs to be saved. Cases take turns.

    Args:
        data: as for `PseudoLabelSliceDataset`.
        modalities: as for `PseudoLabelSliceDataset`.
        labels_dir: as for `PseudoLabelSliceDataset`.
        patch_size: voxels of the prepared grid: rows, columns, slices. Smaller cases are padded.
        patches: how many there are: those of all epochs together, so that none comes twice.
        tumour_share: share of the patches that are centred on pseudo tumour, if the case has any.
        geometry: random MONAI transforms of ``image``, ``foreground`` and ``label``; ``None`` for none. What they fill
            in must be 0. The label reaches them as 0 ignored, 1 not tumour, 2 tumour: interpolate it by ``nearest``.
        seed: of all draws.
        options: those of `PseudoLabelSliceDataset`, by name.

    Raises:
        ValueError: a size or number is not positive, or what `PseudoLabelSliceDataset` raises.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        modalities: Sequence[str] | str,
        labels_dir: str | Path,
        patch_size: Sequence[int],
        patches: int,
        tumour_share: float = 0.5,
        geometry: Compose | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        if len(patch_size) != 3 or min(patch_size) < 1:
            raise ValueError(
                f"patch_size: expected rows, columns and slices from 1 up, got {list(patch_size)}"
            )
        if patches < 1:
            raise ValueError(
                f"patches: expected at least 1, got {patches}; they are `epochs` times `epoch_slices`, which must be "
                f"set to a number of patches, since there is no end of them"
            )
        if not 0 <= tumour_share <= 1:
            raise ValueError(f"tumour_share: expected a share from 0 to 1, got {tumour_share}")
        super().__init__(data, modalities, labels_dir, **options)
        self.patch_size, self.patches = tuple(int(side) for side in patch_size), patches
        self.tumour_share, self.geometry, self.seed = tumour_share, geometry, seed
        self._numbers = np.unique(self.case_index)  # of cases with labels

    def __len__(self) -> int:
        return self.patches

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Items of a whole batch."""
        return [self._patch(index) for index in indices]

    def volume_label(self, number: int) -> np.ndarray:
        """Label of a whole case as its slices have it, (S, H, W); -1 in slices that have none."""
        case = self.cases[number]
        label = np.full((case.slices, *[case.geometry.size] * 2), IGNORED, dtype=np.float32)
        for row in np.flatnonzero(self.case_index == number):
            label[self.slice_index[row]] = self.pseudo_mask(int(row))
        return label

    def _patch(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.patches:
            raise IndexError(f"patch {index}: expected a number from 0 up, below {self.patches}")
        number = int(self._numbers[index % len(self._numbers)])
        case = self.cases[number]
        draw = np.random.RandomState(np.random.SeedSequence([self.seed, index]).generate_state(1))
        label = self.volume_label(number)
        box = self._box(label, case.foreground, draw)
        image, foreground = read_block(case, self._channels[number], box)
        item: dict[str, Any] = {
            "image": image,
            "foreground": foreground,
            "label": torch.from_numpy(label[box] - IGNORED).permute(1, 2, 0)[None],
            "statistics": self._statistics[number].clone(),
            "case": case.case,
        }
        item = item if self.transform is None else self.transform(item)
        volumes = {key: padded(item[key], self.patch_size) for key in VOLUMES}
        if self.geometry is not None:
            self.geometry.set_random_state(seed=int(draw.randint(2**31)))
            volumes = self.geometry(volumes)
        volumes = {key: convert_to_tensor(volumes[key], track_meta=False) for key in VOLUMES}
        volumes["label"] = volumes["label"] + IGNORED
        return {**item, **volumes}

    def _box(
        self, label: np.ndarray, foreground: np.ndarray, draw: np.random.RandomState
    ) -> tuple[slice, slice, slice]:
        """Slices, rows and columns of a patch, cut at the scan's edges."""
        rows, columns, slices = self.patch_size
        inside, tumour = np.flatnonzero(foreground), np.flatnonzero(label > 0)
        centre = generate_pos_neg_label_crop_centers(
            (slices, rows, columns),
            num_samples=1,
            pos_ratio=self.tumour_share,
            label_spatial_shape=label.shape,
            fg_indices=tumour if len(tumour) else inside,
            bg_indices=inside,
            rand_state=draw,
            allow_smaller=True,
        )[0]
        size = np.minimum((slices, rows, columns), label.shape).tolist()
        first = (int(middle) - side // 2 for middle, side in zip(centre, size, strict=True))
        depth, height, width = (slice(start, start + side) for start, side in zip(first, size, strict=True))
        return depth, height, width
