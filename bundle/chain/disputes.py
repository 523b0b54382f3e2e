"""Which of two masks the image takes the side of where they differ: what tags cannot tell of self-training."""

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

FEWEST = 20  # pixels of either kind that a case's intensities are learnt from
REGULARISED = 1e-3  # share of the identity in a covariance, which a constant modality would make singular


@dataclass(frozen=True)
class Disputes:
    """Pixels that an earlier and a later mask mark differently, by whom the image takes the side of.

    Args:
        earlier: pixels that look as the earlier mask says.
        later: pixels that look as the later one says.
        unjudged: pixels of cases in which either kind is too rare to be learnt.
    """

    earlier: int
    later: int
    unjudged: int = 0

    @property
    def judged(self) -> int:
        """Disputed pixels that the image could tell apart."""
        return self.earlier + self.later

    @property
    def for_later(self) -> float:
        """Share of the later mask in what was judged; one half where nothing was."""
        return self.later / self.judged if self.judged else 0.5

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

    What both call lesion (or the earlier one alone, where they share too little), and what both call none within
    `around_mm`, teaches a quadratic discriminant analysis of the modalities' intensities (scikit-learn; both kinds as
    likely beforehand), case by case; it then classifies the pixels that only one of them calls lesion. Only slices
    tagged tumour count, where a case has any tags of slices: of the others the tags tell more. No true mask is read.

    Args:
        entries: of the data set's datalist, prepared cases.
        modalities: names of those to look at.
        earlier_dir: with ``<case>.nii.gz``, masks on each scan's own grid.
        later_dir: likewise.
        around_mm: how far around both masks the image is looked at.

    Raises:
        FileNotFoundError: a mask is missing.
        ValueError: a mask is not of its scan's shape, or a modality was not prepared.
    """
    counts = np.zeros(3, dtype=int)
    for entry in tqdm(entries, desc="disputed pixels", unit="case"):
        case = PreparedCase.open(entry["image"])
        first, second = (_slices(case, Path(folder)) for folder in (earlier_dir, later_dir))
        shown = np.array(case.foreground)
        if (case.tags >= 0).any():
            shown &= (case.tags == 1)[:, None, None]
        either = first | second
        if not either.any():
            continue
        spacing = (case.geometry.spacing_mm[2], *case.geometry.pixel_mm)
        near = ndimage.distance_transform_edt(~either, sampling=spacing) <= around_mm
        lesion = first & second & shown
        if np.count_nonzero(lesion) < FEWEST:
            lesion = first & shown
        rest, disputed = near & ~either & shown, (first ^ second) & shown
        image = np.asarray(case.image[:, case.channels(modalities)]).transpose(1, 0, 2, 3)
        counts += _judge(
            z_scores(image[:, shown]), *(each[shown] for each in (lesion, rest, disputed, second))
        )
    return Disputes(*counts.tolist())


def _judge(
    scores: np.ndarray, lesion: np.ndarray, rest: np.ndarray, disputed: np.ndarray, later: np.ndarray
) -> tuple[int, int, int]:
    """Disputed pixels for the earlier mask, for the later one, and unjudged; of intensities (K, n) and pixels (n,)."""
    number = int(np.count_nonzero(disputed))
    if min(np.count_nonzero(lesion), np.count_nonzero(rest)) < FEWEST or number == 0:
        return 0, 0, number
    known = lesion | rest
    judge = QuadraticDiscriminantAnalysis(priors=[0.5, 0.5], reg_param=REGULARISED)
    judge.fit(scores[:, known].T, lesion[known])
    for_later = int(np.count_nonzero(judge.predict(scores[:, disputed].T) == later[disputed]))
    return number - for_later, for_later, 0


def _slices(case: PreparedCase, folder: Path) -> np.ndarray:
    """A case's mask on its slices, bool (S, H, W)."""
    volume = np.asanyarray(nib.Nifti1Image.from_filename(folder / f"{case.case}.nii.gz").dataobj)
    return case.geometry.apply((volume > 0).astype(np.float32)) > 0.5
