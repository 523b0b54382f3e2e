"""The slice cache: one prepared case on disk, written whole or not at all, read through memory maps."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bundle.data.geometry import SliceGeometry
from bundle.data.labels import volume_tag_of
from bundle.data.names import nearest_name
from bundle.data.slices import STATISTICS, to_slices

if TYPE_CHECKING:
    from bundle.data.volumes import CaseVolumes

FORMAT = 1  # of everything under a prepared data set; a cache of another format is prepared anew


def write_case(
    dataset_dir: str | Path,
    volumes: CaseVolumes,
    tags: Sequence[int] | np.ndarray | None,
    spatial_size: int | None,
    stratum: str | None,
    files: dict[str, str],
    extra: dict[str, Any] | None = None,
) -> Path:
    """Stores one case under ``dataset_dir/cases``; the folder appears when it is complete.

    Args:
        dataset_dir: the prepared data set.
        volumes: the case as read; its mask is not looked at.
        tags: one a slice: 1 positive, 0 negative, -1 untagged; ``None`` for no tags.
        spatial_size: side of the slices in pixels, ``None`` to keep the scan's.
        stratum: group that splits are balanced over.
        files: modality to the file it came from, in the order of the image's channels.
        extra: further values for case.json.

    Returns:
        The case's folder.
    """
    arrays = to_slices(volumes, spatial_size)
    slices = len(arrays.image)
    tags = np.full(slices, -1, dtype=np.int8) if tags is None else np.asarray(tags, dtype=np.int8)
    if len(tags) != slices or len(files) != arrays.image.shape[1]:
        raise ValueError(
            f"case {volumes.case}: expected {slices} tags and {arrays.image.shape[1]} files, "
            f"found {len(tags)} and {len(files)}"
        )
    described = {
        "case": volumes.case,
        "modalities": list(files),
        "stratum": stratum,
        "files": {modality: str(path) for modality, path in files.items()},
        "geometry": arrays.geometry.to_dict(),
        "statistics": {
            modality: dict(zip(STATISTICS, map(float, row), strict=True))
            for modality, row in zip(files, arrays.statistics, strict=True)
        },
        "tags": tags.tolist(),
        "blank": arrays.blank.tolist(),
        **(extra or {}),
    }
    partial = partial_path(dataset_dir, volumes.case)
    partial.mkdir(parents=True)
    try:
        np.save(partial / "image.npy", arrays.image)
        np.save(partial / "foreground.npy", arrays.foreground)
        write_json(partial / "case.json", described)
        folder = Path(dataset_dir) / "cases" / volumes.case
        _put_in_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def partial_path(dataset_dir: str | Path, name: str) -> Path:
    """A place that nobody else writes to, on the data set's own file system."""
    return Path(dataset_dir) / ".partial" / f"{uuid.uuid4().hex}-{name}"


def write_json(path: Path, values: Any) -> None:
    """Writes JSON so that `path` holds either the old text or the whole new one."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    beside.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    os.replace(beside, path)


def sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put_in_place(partial: Path, folder: Path) -> None:
    """Renames `partial` to `folder`; two processes may do so at the same time (ranks of one training)."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(8):
        if folder.exists():
            old = partial.with_name(f"{partial.name}-old-{uuid.uuid4().hex}")
            with suppress(FileNotFoundError):  # the other process may just have moved it away
                os.replace(folder, old)
            shutil.rmtree(old, ignore_errors=True)
        try:
            os.replace(partial, folder)
            return
        except OSError:
            if not folder.exists():
                raise
    raise OSError(f"{folder} is being rewritten by another process; run one preparation at a time")


@dataclass
class PreparedCase:
    """One prepared case. Arrays are memory maps, opened on first use and again in each worker process.

    Args:
        path: the case's folder.
        described: the contents of its case.json.
    """

    path: Path
    described: dict[str, Any]
    _arrays: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> PreparedCase:
        """Reads case.json only.

        Raises:
            FileNotFoundError: there is no prepared case at `path`.
        """
        path = Path(path)
        try:
            described = json.loads((path / "case.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(
                f"case {path.name}: {path} holds no case.json; prepare it with "
                "`python -m scripts.prepare_data`, which writes complete cases only"
            ) from None
        return cls(path, described)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "described": self.described, "_arrays": {}}

    @property
    def case(self) -> str:
        return str(self.described["case"])

    @property
    def modalities(self) -> list[str]:
        return list(self.described["modalities"])

    @property
    def stratum(self) -> str | None:
        return self.described["stratum"]

    @property
    def slices(self) -> int:
        return len(self.described["blank"])

    @property
    def tags(self) -> np.ndarray:
        """int8 (S,): 1 positive, 0 negative, -1 untagged."""
        return np.array(self.described["tags"], dtype=np.int8)

    @property
    def volume_tag(self) -> int | None:
        """1 if the case shows the target somewhere, 0 if nowhere, ``None`` if neither it nor its slices tell."""
        given = self.described.get("volume_tag")
        return volume_tag_of(self.tags, self.blank) if given is None else int(given)

    @property
    def blank(self) -> np.ndarray:
        """bool (S,): slices without foreground."""
        return np.array(self.described["blank"], dtype=bool)

    @property
    def statistics(self) -> np.ndarray:
        """float32 (K, 4): low, high, mean, std per modality."""
        per_modality = self.described["statistics"]
        rows = [[per_modality[m][name] for name in STATISTICS] for m in self.modalities]
        return np.array(rows, dtype=np.float32)

    @property
    def geometry(self) -> SliceGeometry:
        return SliceGeometry.from_dict(self.described["geometry"])

    @property
    def image(self) -> np.ndarray:
        """(S, K, H, W), mapped."""
        return self._mapped("image")

    @property
    def foreground(self) -> np.ndarray:
        """bool (S, H, W), mapped."""
        return self._mapped("foreground")

    def channels(self, modalities: Sequence[str]) -> list[int]:
        """Index of each modality among the stored channels.

        Raises:
            ValueError: a modality was not prepared.
        """
        for modality in modalities:
            if modality not in self.modalities:
                raise ValueError(
                    f"case {self.case}: modality {modality} was not prepared, only "
                    f"{', '.join(self.modalities)}; {nearest_name(modality, self.modalities)} "
                    f"Give `--modalities {','.join(self.modalities)}`, or prepare it too"
                )
        return [self.modalities.index(modality) for modality in modalities]

    def _mapped(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            self._arrays[name] = np.asarray(np.load(self.path / f"{name}.npy", mmap_mode="r"))
        return self._arrays[name]
