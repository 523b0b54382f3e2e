"""How masks were made of maps, in words that reports print."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MaskRule:
    """What made the masks.

    >>> MaskRule(0.5).text
    'cam > 0.5'
    >>> MaskRule("otsu", ("holes filled",)).text
    'cam > threshold of each map (otsu), holes filled'

    Args:
        threshold: the number, or the name of the rule that gives each map its own.
        steps: what was done after it, in words.
    """

    threshold: float | str = 0.5
    steps: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """One line."""
        fixed = not isinstance(self.threshold, str)
        made = f"cam > {self.threshold}" if fixed else f"cam > threshold of each map ({self.threshold})"
        return ", ".join([made, *self.steps])
