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
    >>> MaskRule(0.5, map_steps=("maps smoothed 3 mm across slices",)).text
    'maps smoothed 3 mm across slices, cam > 0.5'

    Args:
        threshold: the number, or the name of the rule that gives each map its own.
        steps: what was done after it, in words.
        map_steps: what was done to the maps before, in words.
    """

    threshold: float | str = 0.5
    steps: tuple[str, ...] = ()
    map_steps: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """One line."""
        fixed = not isinstance(self.threshold, str)
        made = f"cam > {self.threshold}" if fixed else f"cam > threshold of each map ({self.threshold})"
        return ", ".join([*self.map_steps, made, *self.steps])
