"""What refinements of the fused map by the scan have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from bundle.refinement.cores import BOUNDARY, spacings, sure_core


@dataclass(frozen=True)
class CaseArrays:
    """What a refinement looks at.

    Args:
        fused: the map (X, Y, Z) in [0, 1].
        image: modalities (K, X, Y, Z).
        inside: the foreground (X, Y, Z), bool.
        core: where the map counts as above 0.5, bool, never empty.
        spacing_mm: voxel sizes (3,).
        trust: of the branches (N,), where the case has it.
    """

    fused: np.ndarray
    image: np.ndarray
    inside: np.ndarray
    core: np.ndarray
    spacing_mm: np.ndarray
    trust: np.ndarray | None


class ImageRefinement(Transform):
    """The fused map's border found anew by the scan, around what the map is sure of.

    Reads ``cams`` (M, X, Y, Z), ``image`` (K, X, Y, Z), ``spacing_mm`` and, where it is there, ``foreground``
    (1, X, Y, Z), outside which is no lesion. Writes ``cams`` with another last map, whose boundary is at 0.5, so leave
    `threshold` of the masks there. Adds lines to ``map_steps``, what reports say was done to the maps.

    Args:
        around_mm: how far around the map above 0.5 the scan is looked at.
        peak: what a component of the map above 0.5 must exceed somewhere to count: a lesion is sure somewhere. Where
            none does, the map is held at 0.5, so that its mask is empty.

    Raises:
        ValueError: no surroundings, a peak below 0.5 or not below 1, or a case without image or whose image or map is
            not finite; it names the case.
    """

    def __init__(self, around_mm: float, peak: float) -> None:
        name = type(self).__name__
        if not around_mm > 0:
            raise ValueError(
                f"{name}: expected around_mm > 0, got {around_mm}; set `refine` to null for no refinement"
            )
        if not BOUNDARY <= peak < 1:
            raise ValueError(
                f"{name}: expected a peak from {BOUNDARY} to below 1, got {peak}; {BOUNDARY} for any component"
            )
        self.around_mm, self.peak = float(around_mm), float(peak)

    @property
    @abstractmethod
    def step(self) -> str:
        """What is done to the map, for reports."""

    @abstractmethod
    def refined(self, case: CaseArrays) -> np.ndarray:
        """The fused map with another border, float32 (X, Y, Z)."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if d.get("image") is None:
            raise ValueError(
                f"case {d.get('case', 'without a name')}: {type(self).__name__} needs the scan under `image`, found "
                "none; keep it in the items"
            )
        cams = torch.as_tensor(d["cams"])
        fused, image = cams[-1].cpu().numpy(), torch.as_tensor(d["image"]).cpu().numpy()
        if not np.isfinite(fused).all() or not np.isfinite(image).all():
            raise ValueError(
                f"case {d.get('case', 'without a name')}: {type(self).__name__} expected finite values, found nan or "
                "inf in the scan or its map; mend the scan"
            )
        inside = np.ones(fused.shape, dtype=bool)
        if d.get("foreground") is not None:
            inside = torch.as_tensor(d["foreground"])[0].cpu().numpy() > 0
        sure = () if self.peak == BOUNDARY else (f"fused map's components below {self.peak:g} left out",)
        d["map_steps"] = (*d.get("map_steps", ()), *sure, self.step)
        core = sure_core(fused, inside, self.peak)
        if core.any():
            trust = d.get("trust")
            trust = None if trust is None else torch.as_tensor(trust).double().cpu().numpy()
            case = CaseArrays(fused, image, inside, core, spacings(d["spacing_mm"]), trust)
            last = torch.from_numpy(self.refined(case)).to(cams)[None]
        else:
            last = cams[-1:].clamp(max=BOUNDARY)
        d["cams"] = torch.cat([cams[:-1], last])
        return d
