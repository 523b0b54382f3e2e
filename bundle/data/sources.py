"""From the name of a source to a prepared data set: brats, decathlon, folder or phantom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bundle.data.decathlon import download_decathlon, find_decathlon
from bundle.data.folder_patterns import find_folder
from bundle.data.names import nearest_name
from bundle.data.phantoms import find_phantom, make_phantom_once
from bundle.data.prepare import Preparation, PrepareOptions, prepare_cohort
from bundle.data.readers import find_brats
from bundle.data.records import CaseRecord

SOURCES = ("brats", "decathlon", "folder", "phantom")


def prepare_source(
    source: str,
    output_dir: str | Path,
    options: PrepareOptions,
    input_dir: str | Path | None = None,
    patterns: Mapping[str, str] | None = None,
    download: str | None = None,
    subjects: Sequence[int] | None = None,
    spacing_mm: float | None = None,
    progress: bool = True,
    anatomy: str | None = None,
) -> Preparation:
    """Finds the cases of a source and prepares them.

    Args:
        source: one of `SOURCES`.
        output_dir: the prepared data set.
        options: how; empty `modalities` mean all that the source has.
        input_dir: where the scans lie; for the phantom it is ``output_dir/raw``.
        patterns: one a modality, for ``folder``.
        download: decathlon task to fetch into `input_dir` first.
        subjects: of the phantom, for train, validation and test; by default its anatomy's (`PHANTOMS`).
        spacing_mm: edge of the phantom's voxels, of the prostate's in the slice; by default its anatomy's.
        progress: show bars.
        anatomy: of the phantom: ``brain`` (default) or ``prostate``.

    Raises:
        ValueError: an unknown source or anatomy, or an argument that belongs to another one.
    """
    if source not in SOURCES:
        raise ValueError(f"source {source!r} is unknown; {nearest_name(source, SOURCES)}")
    for name, value, owner in (
        ("patterns", patterns, "folder"),
        ("download", download, "decathlon"),
        ("anatomy", anatomy, "phantom"),
        ("subjects", subjects, "phantom"),
        ("spacing_mm", spacing_mm, "phantom"),
    ):
        if value is not None and source != owner:
            raise ValueError(f"--{name} belongs to the source {owner}, found it with {source}; drop it")
    layout = source
    if source == "phantom":
        if input_dir is not None:
            raise ValueError("the source phantom makes its own scans in output_dir/raw; drop --input_dir")
        layout = find_phantom(anatomy).layout
        raw = make_phantom_once(
            Path(output_dir) / "raw", anatomy, subjects, options.seed, spacing_mm, progress
        )
        if options.tags is None:
            options = replace(options, tags_from_masks=True)
        if options.splits is None and options.folds is None:
            options = replace(options, splits=raw / "splits.json")
        input_dir = raw
    if input_dir is None:
        raise ValueError(
            f"source {source}: --input_dir is missing, expected the folder with the scans; give it"
        )
    if download is not None:
        input_dir = download_decathlon(download, input_dir)
    records = _find(layout, input_dir, options, patterns)
    options = replace(options, modalities=list(options.modalities) or list(records[0].images))
    return prepare_cohort(records, output_dir, options, source, progress, patterns)


def _find(
    layout: str, input_dir: str | Path, options: PrepareOptions, patterns: Mapping[str, str] | None
) -> list[CaseRecord]:
    wanted = list(options.modalities) or None
    if layout == "decathlon":
        return find_decathlon(input_dir, wanted, reference=options.reference)
    if layout == "folder":
        if patterns is None:
            raise ValueError(
                "source folder: --patterns is missing, expected one a modality; give "
                "--patterns \"{flair: '*/{case}/Flair*.nii.gz', t1c: '*/{case}/T1c*.nii.gz'}\""
            )
        return find_folder(input_dir, patterns, wanted, options.reference)
    return find_brats(input_dir, wanted, options.reference)
