"""Names that a person types: lists of them, and the nearest known one to a slip."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


def name_list(value: Any) -> list[str]:
    """List of names from what a command line or a config gives: ``a,b``, ``[a, b]`` or one name alone.

    >>> name_list("flair,t1c"), name_list("flair"), name_list(("flair", "t1c"))
    (['flair', 't1c'], ['flair'], ['flair', 't1c'])
    """
    if isinstance(value, str):
        parts: Iterable[Any] = value.strip().strip("[]()").split(",")
    elif isinstance(value, Iterable):
        parts = value
    else:
        parts = [value]
    names = [str(part).strip().strip("'\"") for part in parts]
    return [name for name in names if name]


def nearest_name(name: str, known: Iterable[str]) -> str:
    """End of an error message about an unknown name: the nearest known one, or all of them.

    >>> nearest_name("flare", ["flair", "t1c"])
    'did you mean flair?'
    >>> nearest_name("x", ["flair", "t1c"])
    'known are flair, t1c'
    """
    known = [str(k) for k in known]
    folded = {k.lower(): k for k in reversed(known)}
    close = get_close_matches(name.lower(), list(folded), n=1, cutoff=0.5)
    return f"did you mean {folded[close[0]]}?" if close else f"known are {', '.join(known) or 'none'}"
