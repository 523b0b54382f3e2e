"""One case: where its images, mask and foreground lie. Nothing is read here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ImageSource:
    """One modality's voxels: a file, a folder with a DICOM series, or one channel of a 4D file.

    Args:
        path: image file or DICOM folder.
        channel: index along the file's last axis if it is 4D, counted from 0; ``None`` for a 3D file.
        channels: number of channels that the 4D file must have; ``None`` for a 3D file.
    """

    path: Path
    channel: int | None = None
    channels: int | None = None


@dataclass(frozen=True)
class CaseRecord:
    """One patient's scan, as a reader found it.

    Args:
        case: case id, unique within a data set; it names the case in splits, tags, errors and outputs.
        images: modality name to its source.
        mask: pixel labels, for evaluation and for benchmark tags; ``None`` if there are none.
        foreground: a file that is above 0 inside the body part; ``None`` to find it in the images.
        stratum: group that splits are balanced over (HGG or LGG, say); ``None`` if unknown.
    """

    case: str
    images: dict[str, ImageSource] = field(default_factory=dict)
    mask: Path | None = None
    foreground: Path | None = None
    stratum: str | None = None
