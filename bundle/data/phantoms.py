"""The phantoms by their anatomy: what each is made by, in which layout, how large by default."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.data import phantom, phantom_prostate
from bundle.data.cache import write_json
from bundle.data.names import nearest_name

DEFAULT_ANATOMY = "brain"


@dataclass(frozen=True)
class Phantom:
    """One kind of synthetic cohort.

    Args:
        make: writes it to a folder.
        layout: the source whose reader reads it.
        subjects: default numbers for train, validation and test.
        spacing_mm: default edge of a voxel, in the slice if slices are thicker.
    """

    make: Callable[..., Path]
    layout: str
    subjects: tuple[int, ...]
    spacing_mm: float


PHANTOMS = {
    "brain": Phantom(phantom.make_phantom, "brats", phantom.SUBJECTS, phantom.SPACING_MM),
    "prostate": Phantom(
        phantom_prostate.make_prostate_phantom,
        "decathlon",
        phantom_prostate.SUBJECTS,
        phantom_prostate.SPACING_MM,
    ),
}


def find_phantom(anatomy: str | None) -> Phantom:
    """The phantom of an anatomy, the brain's by default; `ValueError` with the nearest name if there is none."""
    anatomy = anatomy or DEFAULT_ANATOMY
    if anatomy not in PHANTOMS:
        raise ValueError(f"phantom: anatomy {anatomy!r} is unknown; {nearest_name(anatomy, PHANTOMS)}")
    return PHANTOMS[anatomy]


def make_phantom_once(
    raw: Path,
    anatomy: str | None,
    subjects: Sequence[int] | None,
    seed: int,
    spacing_mm: float | None,
    progress: bool,
) -> Path:
    """Writes the phantom unless the same one is there, complete; resuming then finds unchanged files.

    Args:
        raw: folder to write to.
        anatomy: one of `PHANTOMS`, the brain by default.
        subjects: for train, validation and test, by default the anatomy's.
        seed: of the cohort.
        spacing_mm: edge of a voxel, by default the anatomy's.
        progress: show a bar.

    Returns:
        ``raw``.

    Raises:
        ValueError: an unknown anatomy, another phantom in ``raw``, or an argument out of range.
    """
    kind = find_phantom(anatomy)
    arguments = {
        "subjects": list(kind.subjects if subjects is None else subjects),
        "seed": seed,
        "spacing_mm": kind.spacing_mm if spacing_mm is None else spacing_mm,
    }
    recipe: dict[str, Any] = dict(arguments)
    if anatomy not in (None, DEFAULT_ANATOMY):  # so that brains made before there was a choice stay current
        recipe["anatomy"] = anatomy
    made = raw / "phantom.json"
    if made.is_file() and json.loads(made.read_text(encoding="utf-8")) == recipe:
        return raw
    if raw.exists() and any(raw.iterdir()):
        raise ValueError(
            f"phantom: {raw} holds another or an unfinished phantom, expected nothing or the same one "
            f"({recipe}); remove {raw} or choose another --output_dir"
        )
    kind.make(raw, **arguments, progress=progress)
    write_json(made, recipe)
    return raw
