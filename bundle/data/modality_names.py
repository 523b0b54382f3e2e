"""What MRI sequences are called: one meaning behind the names of several data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bundle.data.names import name_list, nearest_name

# BraTS named its sequences anew in 2023, and the Decathlon has names of its own.
ALIASES = {
    "t1": ("t1", "t1n", "t1w"),
    "t1c": ("t1c", "t1ce", "t1gd"),
    "t2": ("t2", "t2w"),
    "flair": ("flair", "t2f"),
}
_MEANINGS = {alias: name for name, aliases in ALIASES.items() for alias in aliases}


def meaning(name: str) -> str:
    """The name in `ALIASES` that a data set's name stands for; itself if there is none.

    >>> meaning("T1Gd"), meaning("adc")
    ('t1c', 'adc')
    """
    return _MEANINGS.get(name.lower(), name.lower())


def with_reference(modalities: Sequence[str], reference: str | None) -> list[str]:
    """The modalities and, last, the reference, unless it is one of them under any of its names.

    >>> with_reference(["adc"], "t2"), with_reference(["adc", "t2w"], "t2")
    (['adc', 't2'], ['adc', 't2w'])
    """
    known = {meaning(name) for name in modalities}
    return [*modalities, *([reference] if reference is not None and meaning(reference) not in known else [])]


def usable_modalities(available: Any, modalities: Sequence[str]) -> list[str]:
    """The modalities that an inference may use, in the network's order.

    >>> usable_modalities("flair,t1", ["t1", "t1c", "flair"]), usable_modalities(None, ["t1"])
    (['t1', 'flair'], ['t1'])

    Args:
        available: some of `modalities` in any order, as a list or as ``t1,flair``; ``None`` for all.
        modalities: the network's.

    Raises:
        ValueError: a name is not among `modalities`, or none is given.
    """
    if available is None:
        return list(modalities)
    named = name_list(available)
    for name in named:
        if name not in modalities:
            raise ValueError(
                f"available: {name} is none of the `modalities`; {nearest_name(name, modalities)}"
            )
    if not named:
        raise ValueError(
            f"available: expected some of {', '.join(modalities)}, found none; name one, or leave it out for all"
        )
    return [name for name in modalities if name in named]


def match_modalities(asked: Sequence[str], available: Sequence[str]) -> list[str]:
    """For each name asked for, the available one of the same name, else of the same meaning.

    Raises:
        ValueError: a name is unknown, or two name the same modality.
    """
    if len(set(asked)) < len(asked):
        raise ValueError(f"modalities should differ (found {', '.join(asked)}); name each once")
    matches = []
    for name in asked:
        lower = name.lower()
        match = next((a for a in available if a == lower), None)
        match = match or next((a for a in available if meaning(a) == meaning(name)), None)
        if match is None:
            raise ValueError(f"modality {name} is not known here; {nearest_name(name, available)}")
        if match in matches:
            raise ValueError(f"modalities {', '.join(asked)} name {match} twice; name each once")
        matches.append(match)
    return matches
