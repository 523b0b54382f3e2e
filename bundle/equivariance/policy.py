"""Which transforms are drawn, and how wide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from monai.transforms import Randomizable

from bundle.equivariance.warp import Warp

KINDS = ("flip", "rotate", "scale", "translate")


class WarpPolicy(Randomizable):
    """Draws the transforms of Patel and Dolz (2022), section 4.3: flip, rotation, scale, translation.

    Every parameter is drawn for each sample; the published code draws flip and scale for the whole batch.
    Scaling keeps the grid and zooms about its centre, where the published code resizes the batch.

    Args:
        kinds: any subset of ``flip``, ``rotate``, ``scale``, ``translate``.
        compose: draw all kinds, one after the other; otherwise one of them per batch, each as likely (paper).
        scale_range: lower and upper factor, above 1 enlarges (paper: 0.8, 1.2).
        shift_frac: largest shift along each axis as a share of the side (paper: 0.3).

    Raises:
        ValueError: for an unknown kind, no kind, or ranges that make no sense.
    """

    def __init__(
        self,
        kinds: Sequence[str] = KINDS,
        compose: bool = False,
        scale_range: Sequence[float] = (0.8, 1.2),
        shift_frac: float = 0.3,
    ) -> None:
        kinds = kinds.split(",") if isinstance(kinds, str) else kinds  # as a command line gives them
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown or not kinds:
            raise ValueError(f"warp kinds: expected some of {', '.join(KINDS)}, got {list(kinds)}")
        low, high = scale_range
        if not 0 < low <= high:
            raise ValueError(f"warp scale_range: expected 0 < lower <= upper, got {tuple(scale_range)}")
        if not 0 <= shift_frac < 1:
            raise ValueError(f"warp shift_frac: expected a share in [0, 1) of the side, got {shift_frac}")
        self.kinds, self.compose = tuple(kinds), compose
        self.scale_range, self.shift_frac = (float(low), float(high)), float(shift_frac)

    def draw(self, batch: int) -> Warp:
        """Draw a warp for ``batch`` samples from the policy's random state (``set_random_state``)."""
        kinds = self.kinds if self.compose else (self.kinds[self.R.randint(len(self.kinds))],)
        turns, mirrored = np.zeros(batch, dtype=int), np.zeros(batch, dtype=bool)
        if "flip" in kinds:  # a vertical flip is a horizontal one and half a turn
            mirrored[:] = True
            turns += 2 * self.R.randint(0, 2, batch)
        if "rotate" in kinds:
            turns = (turns + self.R.randint(1, 4, batch)) % 4
        if "scale" not in kinds and "translate" not in kinds:
            return Warp(turns, mirrored)
        matrix = np.tile(np.eye(2, 3), (batch, 1, 1))
        if "scale" in kinds:
            matrix[:, :, :2] /= self.R.uniform(*self.scale_range, batch)[:, None, None]
        if "translate" in kinds:
            shift = self.R.uniform(-self.shift_frac, self.shift_frac, (batch, 2, 1))
            matrix[:, :, 2:] = -2 * matrix[:, :, :2] @ shift
        return Warp(turns, mirrored, matrix)

    def randomize(self, batch: int) -> None:
        """Advance the random state as :meth:`draw` would."""
        self.draw(batch)
