"""Modalities that are missing at inference: the others are read, and zeros stand for those."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from bundle.data.cache import PreparedCase
from bundle.data.records import CaseRecord
from bundle.data.slices import SliceArrays
from bundle.data.volumes import CaseVolumes, has_file, looked_for, read_case

ABSENT = (0.0, 0.0, 0.0, 1.0)  # low, high, mean, std by which a channel of 0 stays 0 when it is normalised


def read_available(
    record: CaseRecord,
    modalities: Sequence[str],
    usable: Sequence[str],
    reference: str | None = None,
    affines_from_reference: bool = False,
) -> CaseVolumes:
    """`read_case` with those of the usable modalities whose file is there, and a warning that names the others.

    If the file of the reference is missing, the first modality that was found takes its place.

    Args:
        record: where the files lie; it may lack some.
        modalities: the network's.
        usable: those of them that may be used, in the same order.
        reference: see `read_case`.
        affines_from_reference: see `read_case`.

    Raises:
        FileNotFoundError: none of the usable modalities is there.
        ValueError: as `read_case`; a file that is damaged counts as there.
    """
    there = [name for name in usable if has_file(record, name)]
    absent = {name: looked_for(record, name) for name in usable if name not in there}
    if not there:
        raise FileNotFoundError(
            f"case {record.case}: expected one of {', '.join(usable)}, found none ({_where(absent)}); "
            "add a file, or leave the case out"
        )
    notes = _notes(absent, there)
    known = reference in record.images or reference in modalities  # else `read_case` refuses it: a slip
    if reference is not None and known and not has_file(record, reference):
        notes.append(f"the grid is that of {there[0]}, as the reference {reference} is missing")
        reference = there[0]
    _warn(record.case, notes)
    return read_case(record, there, reference, affines_from_reference)


def available_in(case: PreparedCase, usable: Sequence[str]) -> list[str]:
    """Those of the usable modalities that a case was prepared with; a warning names the others.

    Raises:
        ValueError: it was prepared with none of them.
    """
    there = [name for name in usable if name in case.modalities]
    if not there:
        case.channels(usable)  # says so
    prepared = f"prepared were {', '.join(case.modalities)}"
    _warn(case.case, _notes({name: prepared for name in usable if name not in there}, there))
    return there


def spread(
    arrays: PreparedCase | SliceArrays,
    channels: Sequence[int],
    there: Sequence[str],
    modalities: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Image and statistics of a case with a channel for each modality, 0 where it is missing.

    Args:
        arrays: the case.
        channels: its channels to take, one for each name in `there`.
        there: modalities that the case has.
        modalities: the network's.

    Returns:
        Raw intensities, float32 (S, K, H, W), and statistics, float32 (K, 4). Those of a missing modality leave 0 at
        0, the mean of the tissue once `bundle.data.NormalizeByForegroundd` has run.
    """
    slices, _, height, width = arrays.image.shape
    image = np.zeros((slices, len(modalities), height, width), dtype=np.float32)
    statistics = np.tile(np.array(ABSENT, dtype=np.float32), (len(modalities), 1))
    of_case = arrays.statistics
    for name, channel in zip(there, channels, strict=True):
        place = list(modalities).index(name)
        image[:, place] = arrays.image[:, channel]
        statistics[place] = of_case[channel]
    return image, statistics


def _notes(absent: Mapping[str, str], there: Sequence[str]) -> list[str]:
    if not absent:
        return []
    missing = (
        f"modality {next(iter(absent))} is" if len(absent) == 1 else f"modalities {', '.join(absent)} are"
    )
    return [f"{missing} missing ({_where(absent)}); the prediction is made from {', '.join(there)} alone"]


def _where(absent: Mapping[str, str]) -> str:
    return ", ".join(dict.fromkeys(absent.values()))


def _warn(case: str, notes: Sequence[str]) -> None:
    if notes:
        warnings.warn(f"case {case}: {'; '.join(notes)}", stacklevel=3)
