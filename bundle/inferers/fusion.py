"""The branches' maps become one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import Transform

from bundle.data.names import nearest_name

Fusion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _weights(trust: torch.Tensor) -> torch.Tensor:
    trust = torch.where(trust.any(), trust, torch.ones_like(trust))  # no branch on values: exports trace this
    return (trust / trust.sum())[:, None, None, None]


# How sure a branch may be. The last digit of single precision then moves the fused map by 0.25 * 6e-8 / SURE = 5e-5 at
# most; a millionth would let it move by 1e-2, and exported files disagree.
SURE = 3e-4
# Maps (N, H, W, S) and the branches' trust (N,) to one map (H, W, S).
FUSIONS: dict[str, Fusion] = {
    "maximum": lambda cams, trust: cams.amax(dim=0),
    "mean": lambda cams, trust: cams.mean(dim=0),
    "weighted": lambda cams, trust: (cams * _weights(trust)).sum(dim=0),
    "product": lambda cams, trust: (torch.logit(cams, eps=SURE) * _weights(trust)).sum(dim=0).sigmoid(),
}


class FuseMapsd(Transform):
    """Append the fused map, and split ``pred``.

    Reads ``pred`` as :class:`bundle.inferers.VolumeInferer` gives it; writes ``cams`` (N + G + 1, H, W, S), the
    fused map of all branches last, ``probabilities`` (N, S), the slices' probability of tumour in each branch (nan
    without its modality), ``trust`` (N,), the weight of each branch, 0 for a missing one, and ``present``
    (N + G + 1,), which of the maps show anything: those of a branch that is there.
    Branches of modalities that ``available`` (K,) says are missing take no part, and their maps are 0.

    Args:
        names: of the N branches' maps.
        groups: G further fused maps, each of some branches: their names joined by ``-``, such as ``t1-t2``.
        rule: ``maximum`` over branches (Patel and Dolz 2022, section 5); ``mean``; ``weighted``, the mean weighted
            by trust; ``product``, the mean of the maps' log odds weighted by it, a product of experts (Hinton 2002).

    Raises:
        ValueError: a group names a branch that is not there, or the rule is unknown.
    """

    def __init__(self, names: Sequence[str] = (), groups: Sequence[str] = (), rule: str = "maximum") -> None:
        if rule not in FUSIONS:
            raise ValueError(f"fusion: {rule!r} is unknown; {nearest_name(rule, FUSIONS)}")
        self.members = [[_position(name, group, names) for name in group.split("-")] for group in groups]
        self.rule = FUSIONS[rule]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        pred = d.pop("pred")
        cams = pred["cam"]
        trust = pred.get("trust", cams.new_ones(len(cams)))
        present = torch.ones(len(cams), dtype=torch.bool, device=cams.device)
        if "available" in d and len(d["available"]) == len(cams):
            present = torch.as_tensor(d["available"]).to(present)
            cams = cams * present[:, None, None, None]
        everyone = list(range(len(cams)))
        fused = [
            self._fused(cams, trust, [one for one in members if present[one]])
            for members in (*self.members, everyone)
        ]
        d["cams"] = torch.cat([cams, *(one[None] for one in fused)])
        d["probabilities"] = torch.where(present[:, None], pred["logits"].sigmoid(), torch.nan)
        d["trust"] = trust * present
        shown = [bool(present[members].any()) for members in (*self.members, everyone)]
        d["present"] = torch.cat([present, present.new_tensor(shown)])
        return d

    def _fused(self, cams: torch.Tensor, trust: torch.Tensor, members: list[int]) -> torch.Tensor:
        return self.rule(cams[members], trust[members]) if members else torch.zeros_like(cams[0])


def _position(name: str, group: str, names: Sequence[str]) -> int:
    if name not in names:
        raise ValueError(f"also_fuse {group!r}: {name!r} is no branch; {nearest_name(name, names)}")
    return list(names).index(name)
