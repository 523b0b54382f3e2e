"""A share of the tags: what training would have had if fewer had been given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bundle.data.labels import UNTAGGED


def random_share(counted: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draw as many of the true entries as the share says, at least one; a smaller share is part of a larger one.

    Args:
        counted: what may be drawn, bool (n,).
        share: in (0, 1].
        seed: of the draw, which depends on nothing else.

    Returns:
        bool (n,).

    Raises:
        ValueError: the share is none.

    >>> int(random_share(np.array([True, False, True, True, True]), 0.5, seed=0).sum())
    2
    """
    if not 0 < share <= 1:
        raise ValueError(f"tag_share: expected a share above 0, up to 1, got {share}; correct it")
    found = np.flatnonzero(counted)
    order = np.random.default_rng(seed).permutation(len(found))
    chosen = np.zeros(len(counted), dtype=bool)
    chosen[found[order[: max(1, round(share * len(found)))]]] = True
    return chosen


def share_of_tags(
    tags: Sequence[np.ndarray], blanks: Sequence[np.ndarray], share: float, seed: int
) -> list[np.ndarray]:
    """Take away all tags but a random share of all cases' together.

    Args:
        tags: of each case's slices, (S,) of 1, 0 and -1.
        blanks: slices without foreground, bool (S,), which do not count and keep their tags.
        share: see `random_share`.
        seed: see `random_share`.

    Returns:
        Arrays like `tags`, -1 where a tag was taken away.
    """
    counted = [(tag >= 0) & ~blank for tag, blank in zip(tags, blanks, strict=True)]
    joined = np.concatenate([np.zeros(0, dtype=bool), *counted])
    taken = np.split(joined & ~random_share(joined, share, seed), np.cumsum([len(tag) for tag in tags]))
    return [np.where(away, np.int8(UNTAGGED), tag) for away, tag in zip(taken, tags, strict=False)]
