"""Whether masks agree with tags, slice by slice: what guards a round of self-training, since no true mask may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bundle.data import PreparedCase


@dataclass(frozen=True)
class TagAgreement:
    """Slices of some cases, by tag and by whether their mask is empty.

    Args:
        found: slices tagged tumour whose mask is not empty.
        missed: slices tagged tumour whose mask is empty.
        empty: slices tagged healthy whose mask is empty.
        false: slices tagged healthy whose mask is not.
    """

    found: int
    missed: int
    empty: int
    false: int

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the share of tumour slices found and of healthy slices left empty; of those there are."""
        parts = [(self.found, self.found + self.missed), (self.empty, self.empty + self.false)]
        return float(np.mean([right / total for right, total in parts if total]))

    @property
    def standard_error(self) -> float:
        """Of the balanced accuracy, as if slices were independent (they are not, so it is too small)."""
        parts = [(self.found, self.found + self.missed), (self.empty, self.empty + self.false)]
        shares = [(right / total, total) for right, total in parts if total]
        return float(np.sqrt(sum(p * (1 - p) / n for p, n in shares)) / len(shares))

    def as_dict(self) -> dict[str, Any]:
        """Counts and both figures, for a report."""
        return {
            **asdict(self),
            "balanced_accuracy": self.balanced_accuracy,
            "standard_error": self.standard_error,
        }


def tag_agreement(
    entries: Sequence[dict[str, Any]], masks_dir: Path, min_area_mm2: float = 0.0
) -> TagAgreement:
    """Compare the masks of prepared cases with their tags.

    A case that was tagged tumour as a whole, no slice of it in particular, counts as one such slice: found if any of
    its slices is marked.

    Args:
        entries: of the data set's datalist, prepared cases.
        masks_dir: with ``<case>.nii.gz`` on each scan's own grid.
        min_area_mm2: a slice's mask of at most this area counts as empty.

    Raises:
        FileNotFoundError: a case has no mask there.
        ValueError: a mask is not of the scan's shape, or no slice has a tag.
    """
    counts = np.zeros(4, dtype=int)
    for entry in entries:
        case = PreparedCase.open(entry["image"])
        path = Path(masks_dir) / f"{case.case}.nii.gz"
        if not path.is_file():
            raise FileNotFoundError(
                f"case {case.case}: its mask {path} is missing; run the inference of its split first"
            )
        mask = np.asanyarray(nib.Nifti1Image.from_filename(path).dataobj)
        if mask.shape != case.geometry.shape:
            raise ValueError(
                f"case {case.case}: its mask {path} has shape {mask.shape}, expected {case.geometry.shape}; make the "
                f"masks from the same scans"
            )
        x, y, _ = case.geometry.spacing_mm
        area = np.count_nonzero(mask, axis=(0, 1)) * x * y
        tagged = (case.tags >= 0) & ~case.blank
        positive, marked = case.tags[tagged] == 1, area[tagged] > min_area_mm2
        if case.volume_tag == 1 and not positive.any():
            positive, marked = np.append(positive, True), np.append(marked, (area > min_area_mm2).any())
        counts += [
            np.sum(positive & marked),
            np.sum(positive & ~marked),
            np.sum(~positive & ~marked),
            np.sum(~positive & marked),
        ]
    if not counts.any():
        raise ValueError(
            f"no slice of the {len(entries)} cases has a tag, expected some to compare masks with; tag the "
            f"validation split"
        )
    found, missed, empty, false = counts.tolist()
    return TagAgreement(found, missed, empty, false)
