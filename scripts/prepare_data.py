"""From scans to a prepared data set: ``python -m scripts.prepare_data SOURCE --output_dir D …``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bundle.data.names import name_list
from bundle.data.prepare import PrepareOptions
from bundle.data.sources import prepare_source
from scripts.command_line import number, numbers, run, switch, text, whole


def prepare_data(
    source: str,
    *,
    output_dir: str | None = None,
    input_dir: str | None = None,
    modalities: str = "",
    tags: str | None = None,
    first_slice: str = "0",
    tags_from_masks: str = "False",
    splits: str | None = None,
    folds: str | None = None,
    patients: str | None = None,
    fractions: str | None = None,
    seed: str = "0",
    patterns: str | None = None,
    reference: str | None = None,
    affines_from_reference: str = "False",
    spatial_size: str | None = "96",
    workers: str | None = None,
    on_error: str = "stop",
    download: str | None = None,
    anatomy: str | None = None,
    subjects: str | None = None,
    spacing_mm: str | None = None,
) -> int:
    """Prepares scans for training, evaluation and inference. Run it again to go on after an interruption.

    Args:
        source: brats, decathlon, folder or phantom.
        output_dir: the prepared data set, later --dataset_dir.
        input_dir: folder with the scans.
        modalities: which ones, in this order, such as flair,t1c; by default all.
        tags: CSV of case,slice,tag or case,first,last or case,tag (1: somewhere in the case), or several with commas
            between.
        first_slice: number of the first slice in that CSV.
        tags_from_masks: derive the tags from the masks instead, for benchmarks.
        splits: JSON with lists of cases under train, validation and test.
        folds: number of folds to write as well.
        patients: CSV of case,patient, to keep the scans of one patient in one split.
        fractions: shares of train, validation and test, by default 0.7,0.1,0.2.
        seed: of the splits, and of the phantom.
        patterns: for folder, "{flair: '*/{case}/Flair*.nii.gz', mask: ..., foreground: ...}".
        reference: modality whose grid the others are resampled onto.
        affines_from_reference: trust the reference's header where headers disagree.
        spatial_size: side of the slices in pixels, or none to keep the scan's.
        workers: processes, by default one a core.
        on_error: stop at a bad case, or skip it (exit status 2).
        download: decathlon task to fetch into input_dir first, such as Task05_Prostate.
        anatomy: of the phantom, brain (default) or prostate.
        subjects: of the phantom, for train, validation and test, by default 24,6,12 (prostate: 20,4,8).
        spacing_mm: edge of the phantom's voxels, by default 2.0; of the prostate's pixels, by default 1.2 over 192 mm
            in slices 3.6 mm apart.
    """
    if text(output_dir) is None:
        raise ValueError(
            "--output_dir is missing, expected the folder to write the prepared data set to; give it"
        )
    options = PrepareOptions(
        modalities=name_list(modalities),
        tags=text(tags),
        first_slice=whole("first_slice", first_slice) or 0,
        tags_from_masks=switch("tags_from_masks", tags_from_masks),
        splits=_path(splits),
        folds=whole("folds", folds),
        patients=_path(patients),
        fractions=None if text(fractions) is None else numbers("fractions", fractions),
        seed=whole("seed", seed) or 0,
        reference=text(reference),
        affines_from_reference=switch("affines_from_reference", affines_from_reference),
        spatial_size=whole("spatial_size", spatial_size),
        workers=whole("workers", workers),
        on_error=on_error,
    )
    made = prepare_source(
        source,
        Path(str(output_dir)),
        options,
        input_dir=_path(input_dir),
        patterns=_patterns(patterns),
        download=text(download),
        subjects=None if text(subjects) is None else numbers("subjects", subjects, int),
        spacing_mm=None if text(spacing_mm) is None else number("spacing_mm", spacing_mm),
        anatomy=text(anatomy),
    )
    print(made.summary())
    return 2 if made.left_out else 0


def _path(value: str | None) -> Path | None:
    given = text(value)
    return None if given is None else Path(given)


def _patterns(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    try:
        read = yaml.safe_load(str(value))
    except yaml.YAMLError as error:
        raise ValueError(
            f"--patterns is no YAML mapping ({error}); quote each pattern: {{flair: '…'}}"
        ) from None
    if not isinstance(read, dict):
        raise ValueError(
            f"--patterns is {value!r}, expected a mapping such as {{flair: '*/{{case}}/F*.nii.gz'}}"
        )
    return {str(name): str(pattern) for name, pattern in read.items()}


if __name__ == "__main__":
    run(prepare_data)
