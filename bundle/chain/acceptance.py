"""Whether a round of self-training is kept."""

from __future__ import annotations

from bundle.chain.agreement import TagAgreement
from bundle.chain.disputes import Disputes

# Borders that the image likes best are not quite the true ones, and a map that a threshold began is made of them.
IMAGE_SHARE = 0.42  # of the disputed pixels, docs/decisions/0018
# A mask that ends one slice earlier than the tags, at both ends of a lesion of thirty slices, loses three points.
TAG_TOLERANCE = 0.05  # of balanced accuracy
POOR = 0.7  # balanced accuracy of masks that show little beyond chance


def is_kept(disputes: Disputes, tags: TagAgreement, best: TagAgreement) -> bool:
    """Whether the image gives a round enough of what it disputes, and tags agree with it nearly as well as ever.

    Where the image could judge nothing, tags must agree as well.

    Args:
        disputes: with the stage before.
        tags: agreement of the round.
        best: the best agreement of the stages that were kept.
    """
    tolerance = TAG_TOLERANCE if disputes.judged else 0.0
    return disputes.for_later >= IMAGE_SHARE and tags.balanced_accuracy >= best.balanced_accuracy - tolerance


def verdict(name: str, kept: bool, disputes: Disputes, tags: TagAgreement, best: TagAgreement) -> str:
    """The same in words."""
    image = (
        "the image could judge none of the held-out pixels that it marks differently from the stage before"
    )
    if disputes.judged:
        image = (
            f"of {disputes.judged} held-out pixels that it marks differently from the stage before, the image gives it "
            f"{disputes.for_later:.1%} (at least {IMAGE_SHARE:.0%} are wanted)"
        )
    allowed = (
        f"up to {100 * TAG_TOLERANCE:.0f} points less are allowed"
        if disputes.judged
        else "no less is allowed"
    )
    return (
        f"{name} is {'accepted' if kept else 'refused'}: {image}; its masks agree with held-out tags in "
        f"{tags.balanced_accuracy:.1%} of slices (balanced), the best stage before in {best.balanced_accuracy:.1%} "
        f"({allowed})"
    )


def caution(tags: TagAgreement) -> str:
    """A line against masks that show little beyond chance; empty for others."""
    if tags.balanced_accuracy >= POOR:
        return ""
    return (
        f"do not use them: on held-out patients they agree with the tags in {tags.balanced_accuracy:.0%} of slices "
        f"(balanced; chance is 50 %). Look at predictions.png, tag more patients, or train longer\n"
    )
