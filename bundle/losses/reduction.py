"""The two readings of the paper's squared norm."""

from __future__ import annotations

REDUCTIONS = ("mean", "sum")


def check_reduction(owner: str, reduction: str) -> str:
    """Return ``reduction`` if it is ``"mean"`` or ``"sum"`` (over pixels); raise ``ValueError`` otherwise."""
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"{owner} reduction: expected one of {', '.join(REDUCTIONS)} (over pixels), got {reduction!r}"
        )
    return reduction
