"""Which of two masks the image takes the side of, where they differ: what tags cannot tell of a round of self-training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from tqdm import tqdm

from bundle.data import PreparedCase
from bundle.refinement.intensities import z_scores

FEWEST = 50  # agreed pixels of either kind that a case's intensities are learnt from
REGULARISED = 1e-3  # covariance's share of the identity, so that a modality that is constant divides by nothing


@dataclass(frozen=True)
class Disputes:
    """Pixels that an earlier and a later mask mark differently, by whom the image takes the side of.

    Args:
        earlier: pixels that look as the earlier mask says.
        later: pixels that look as the later one says.
    """

    earlier: int
    later: int

    @property
    def for_later(self) -> float:
        """Share of the later mask; one half where nothing is disputed."""
        total = self.earlier + self.later
        return self.later / total if total else 0.5

    def as_dict(self) -> dict[str, Any]:
        """Counts and share, for a report."""
        return {**asdict(self), "for_later": self.for_later}


def settle_disputes(
    entries: Sequence[dict[str, Any]],
    modalities: Sequence[str],
    earlier_dir: str | Path,
    later_dir: str | Path,
    around_mm: float = 20.0,
) -> Disputes:
    """Ask the image about every pixel that two masks of a case dispute.

    What both call lesion, and what both call none within `around_mm`, teaches a quadratic discriminant analysis of the
    modalities' intensities (scikit-learn; both kinds as likely beforehand), case by case; it then classifies the
    pixels that only one of them calls lesion. Only slices tagged tumour count, where a case has any tags of slices: of
    the others the tags tell more. No true mask is read.

    Args:
        entries: of the data set's datalist, prepared cases.
        modalities: names of those to look at.
        earlier_dir: with ``<case>.nii.gz``, masks on each scan's own grid.
        later_dir: likewise.
        around_mm: how far around both masks the image is looked at.
    """
    earlier = later = 0
    for entry in tqdm(entries, desc="disputed pixels", unit="case"):
        case = PreparedCase.open(entry["image"])
        first, second = (_slices(case, Path(folder)) for folder in (earlier_dir, later_dir))
        shown = case.foreground & ~case.blank[:, None, None]
        if (case.tags >= 0).any():
            shown &= (case.tags == 1)[:, None, None]
        either = first | second
        if not either.any():
            continue
        near = ndimage.distance_transform_edt(~either, sampling=_spacing(case)) <= around_mm
        agreed = {1: first & second & shown, 0: near & ~either & shown}
        disputed = (first ^ second) & shown
        if min(map(np.count_nonzero, agreed.values())) < FEWEST or not disputed.any():
            continue
        image = np.asarray(case.image[:, case.channels(modalities)]).transpose(1, 0, 2, 3)
        scores = z_scores(image[:, shown]).T  # (n, K), in the order of `shown`
        said = np.full(shown.shape, -1)
        for kind, where in agreed.items():
            said[where] = kind
        known, asked = said[shown], disputed[shown]
        judge = QuadraticDiscriminantAnalysis(priors=[0.5, 0.5], reg_param=REGULARISED)
        judge.fit(scores[known >= 0], known[known >= 0])
        lesion = judge.predict(scores[asked]) == 1
        for_later = int(np.count_nonzero(lesion == second[shown][asked]))
        later += for_later
        earlier += lesion.size - for_later
    return Disputes(earlier, later)


def _slices(case: PreparedCase, folder: Path) -> np.ndarray:
    """A case's mask on its slices, bool (S, H, W)."""
    volume = np.asanyarray(nib.Nifti1Image.from_filename(folder / f"{case.case}.nii.gz").dataobj)
    return case.geometry.apply((volume > 0).astype(np.float32)) > 0.5


def _spacing(case: PreparedCase) -> tuple[float, float, float]:
    """Of slices, rows and columns, in mm; pixels that are not square count as the mean of their sides."""
    geometry = case.geometry
    x, y, z = geometry.spacing_mm
    side = (x + y) / 2 * geometry.padded_size / geometry.size
    return z, side, side
