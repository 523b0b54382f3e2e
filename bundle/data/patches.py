"""Random 3D patches with the masks that an earlier stage drew: self-training in three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    tumour or of the foreground; of a case the patch's slices alone are read, and the one its centre is drawn from.
    Slices that have no label (blank ones), what lies outside the scan and what `geometry` brings in from outside are
    ignored.

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
        self._rows = {int(n): self._rows_of(int(n)) for n in self._numbers}
        self._inside = {n: np.count_nonzero(self.cases[n].foreground, axis=(1, 2)) for n in self._rows}
        self._marked = {
            n: np.array([0 if row < 0 else int(np.unpackbits(self._tumour[row]).sum()) for row in rows])
            for n, rows in self._rows.items()
        }

    def __len__(self) -> int:
        return self.patches

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Items of a whole batch."""
        return [self._patch(index) for index in indices]

    def _rows_of(self, number: int) -> np.ndarray:
        """Row of each slice of a case, (S,); -1 for slices without a label."""
        rows = np.full(self.cases[number].slices, -1)
        own = np.flatnonzero(self.case_index == number)
        rows[self.slice_index[own]] = own
        return rows

    def _slice_label(self, number: int, position: int) -> np.ndarray:
        """Label of a slice as `PseudoLabelSliceDataset` has it, (H, W); -1 where it has none."""
        row = int(self._rows[number][position])
        size = self.cases[number].geometry.size
        return np.full((size, size), IGNORED, dtype=np.float32) if row < 0 else self.pseudo_mask(row)

    def _patch(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.patches:
            raise IndexError(f"patch {index}: expected a number from 0 up, below {self.patches}")
        number = int(self._numbers[index % len(self._numbers)])
        case = self.cases[number]
        draw = np.random.RandomState(np.random.SeedSequence([self.seed, index]).generate_state(1))
        box = self._box(number, draw)
        label = np.stack([self._slice_label(number, position)[box[1:]] for position in _positions(box[0])])
        image, foreground = read_block(case, self._channels[number], box)
        item: dict[str, Any] = {
            "image": image,
            "foreground": foreground,
            "label": torch.from_numpy(label - IGNORED).permute(1, 2, 0)[None],
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

    def _box(self, number: int, draw: np.random.RandomState) -> tuple[slice, slice, slice]:
        """Slices, rows and columns of a patch, cut at the scan's edges."""
        rows, columns, slices = self.patch_size
        foreground = self.cases[number].foreground
        inside: Any = _Voxels(self._inside[number], lambda position: foreground[position] > 0)
        tumour: Any = _Voxels(self._marked[number], lambda position: self._slice_label(number, position) > 0)
        centre = generate_pos_neg_label_crop_centers(
            (slices, rows, columns),
            num_samples=1,
            pos_ratio=self.tumour_share,
            label_spatial_shape=foreground.shape,
            fg_indices=tumour if len(tumour) else inside,
            bg_indices=inside,
            rand_state=draw,
            allow_smaller=True,
        )[0]
        size = np.minimum((slices, rows, columns), foreground.shape).tolist()
        first = (int(middle) - side // 2 for middle, side in zip(centre, size, strict=True))
        depth, height, width = (slice(start, start + side) for start, side in zip(first, size, strict=True))
        return depth, height, width


class _Voxels:
    """Flat indices of a volume's marked voxels, as `numpy.flatnonzero` gives them, each found when asked for.

    Args:
        counts: marked voxels of each slice, (S,).
        marked: number of a slice to where it is marked, bool (H, W).
    """

    def __init__(self, counts: np.ndarray, marked: Callable[[int], np.ndarray]) -> None:
        self.ends, self.marked = np.cumsum(counts), marked

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> int:
        position = int(np.searchsorted(self.ends, index, side="right"))
        mask = self.marked(position)
        before = int(self.ends[position - 1]) if position else 0
        return position * mask.size + int(np.flatnonzero(mask)[index - before])


def _positions(part: slice) -> range:
    return range(part.start, part.stop)
