"""Preparing one case: what is still current is kept, what changed is made anew."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from bundle.data.cache import PreparedCase, partial_path, write_case, write_json
from bundle.data.datalists import is_prepared_case
from bundle.data.recipe import image_recipe, mask_stamp
from bundle.data.records import CaseRecord
from bundle.data.tags import TagTable, tags_from_mask
from bundle.data.volumes import CaseVolumes, read_case


class DiskFullError(ValueError):
    """No space is left for the prepared data set; no case is skipped for it."""


@dataclass(frozen=True)
class CaseJob:
    """All that preparing one case needs; it travels to a worker process.

    Args:
        record: where the case's files lie.
        output_dir: the prepared data set.
        modalities: which ones, in this order.
        spatial_size: side of the slices in pixels, ``None`` to keep the scan's.
        reference: modality whose grid the others are resampled onto.
        affines_from_reference: trust the reference's affine where headers disagree.
        table: tags from a CSV.
        tags_from_masks: derive the tags from the mask.
    """

    record: CaseRecord
    output_dir: Path
    modalities: tuple[str, ...]
    spatial_size: int | None = None
    reference: str | None = None
    affines_from_reference: bool = False
    table: TagTable | None = None
    tags_from_masks: bool = False

    @property
    def folder(self) -> Path:
        return self.output_dir / "cases" / self.record.case

    @property
    def mask_file(self) -> Path:
        return self.output_dir / "masks" / f"{self.record.case}.nii.gz"

    @cached_property
    def _recipe(self) -> str:
        return image_recipe(
            self.record, self.modalities, self.spatial_size, self.reference, self.affines_from_reference
        )

    @cached_property
    def _mask_stamp(self) -> str | None:
        mask = self.record.mask
        return None if mask is None or not mask.exists() else mask_stamp(mask)

    @property
    def _tagged_by(self) -> str | None:
        """Where the tags come from. Only tags from masks say of which mask: others depend on none."""
        if self.tags_from_masks:
            return f"masks {self._mask_stamp}"
        return None if self.table is None else "table"

    def needs_reading(self) -> bool:
        """Whether the scans must be read; ``False`` if at most tags or stratum changed."""
        if not is_prepared_case(self.folder):
            return True
        described = PreparedCase.open(self.folder).described
        retag = self.tags_from_masks and described.get("tagged_by") != self._tagged_by
        return described.get("recipe") != self._recipe or retag or not self._mask_is_current()

    def alters(self) -> bool:
        """Whether a case that is there will be another one."""
        if not is_prepared_case(self.folder):
            return False
        prepared = PreparedCase.open(self.folder)
        return self.needs_reading() or self._new_description(prepared) != prepared.described

    def run(self) -> None:
        """Makes the case, or brings its tags up to date.

        Raises:
            ValueError, FileNotFoundError: as `read_case` and the tags' checks say.
            DiskFullError: the disk is full.
        """
        try:
            if self.needs_reading():
                self._read_and_write()
            else:
                self._describe_again()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DiskFullError(
                f"case {self.record.case}: the disk of {self.output_dir} is full; free some space or choose "
                "another --output_dir, then run the same command again: finished cases are kept"
            ) from error

    def stored_bytes(self) -> int:
        """Size of the prepared case with its mask."""
        files = [*self.folder.iterdir(), *([self.mask_file] if self.mask_file.exists() else [])]
        return sum(file.stat().st_size for file in files)

    def _read_and_write(self) -> None:
        case = self.record.case
        if self.tags_from_masks and self.record.mask is None:
            raise ValueError(
                f"case {case}: --tags_from_masks needs a mask, found none; add it, give --tags, "
                "or leave the case out"
            )
        volumes = read_case(self.record, self.modalities, self.reference, self.affines_from_reference)
        tags = self._table_tags(volumes.image.shape[-1])
        if self.tags_from_masks and volumes.mask is not None:
            tags = tags_from_mask(volumes.mask)
        self._write_mask(volumes)
        files = {modality: str(self.record.images[modality].path) for modality in self.modalities}
        extra = {"recipe": self._recipe, "tagged_by": self._tagged_by, **self._volume_tag()}
        write_case(self.output_dir, volumes, tags, self.spatial_size, self.record.stratum, files, extra)

    def _describe_again(self) -> None:
        prepared = PreparedCase.open(self.folder)
        described = self._new_description(prepared)
        if described != prepared.described:
            write_json(self.folder / "case.json", described)

    def _new_description(self, prepared: PreparedCase) -> dict[str, Any]:
        tags = prepared.tags if self.tags_from_masks else self._table_tags(prepared.slices)
        changes = {"stratum": self.record.stratum, "tags": tags.tolist(), "tagged_by": self._tagged_by}
        kept = {key: value for key, value in prepared.described.items() if key != "volume_tag"}
        return {**kept, **changes, **self._volume_tag()}

    def _volume_tag(self) -> dict[str, int]:
        """What was said of the case as a whole, if it leaves its slices open."""
        tag = None if self.table is None else self.table.volume_tag(self.record.case)
        return {} if tag is None else {"volume_tag": tag}

    def _table_tags(self, slices: int) -> np.ndarray:
        if self.table is None:
            return np.full(slices, -1, dtype=np.int8)
        return self.table.for_case(self.record.case, slices)

    def _mask_is_current(self) -> bool:
        """The stored mask carries the stamp of its source in its header."""
        source = self.record.mask
        if source is None or not self.mask_file.exists():
            return source is None and not self.mask_file.exists()
        try:
            header = nib.load(self.mask_file).header
        except (ImageFileError, OSError, EOFError):
            return False
        return self._mask_stamp is not None and header["descrip"].item().decode() == self._mask_stamp  # type: ignore[index]

    def _write_mask(self, volumes: CaseVolumes) -> None:
        if volumes.mask is None or self.record.mask is None:
            self.mask_file.unlink(missing_ok=True)
            return
        partial = partial_path(self.output_dir, self.mask_file.name)
        partial.parent.mkdir(parents=True, exist_ok=True)
        self.mask_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            image = nib.Nifti1Image(volumes.mask.astype(np.uint8), volumes.affine)
            image.header["descrip"] = self._mask_stamp or ""
            nib.save(image, partial)
            os.replace(partial, self.mask_file)
        finally:
            partial.unlink(missing_ok=True)
