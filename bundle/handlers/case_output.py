"""What an evaluator leaves for each case, read and checked for the handlers that report on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from ignite.engine import Engine

from bundle.metrics.case_panel import CasePanel, make_panel
from bundle.metrics.case_scores import FUSED


@dataclass(frozen=True)
class CaseOutput:
    """One item of an evaluator's output, as arrays.

    Args:
        case: case id.
        cams: maps (N + 1, X, Y, Z) in [0, 1] on the scan's own grid, the fused one last.
        masks: what was made of each map, (N + 1, X, Y, Z), positive where above 0.
        spacing_mm: distance of neighbouring voxels along each axis.
        mask: true mask (X, Y, Z), or ``None``.
        image: the scan (K, X, Y, Z), or ``None``.
        affine: voxel to RAS mm, or ``None``.
        map_steps: what was done to the maps before they were cut, in words.
        present: which of the maps are of a branch that is there, bool (N + 1,), or ``None`` for all.
    """

    case: str
    cams: np.ndarray
    masks: np.ndarray
    spacing_mm: tuple[float, ...]
    mask: np.ndarray | None
    image: np.ndarray | None
    affine: np.ndarray | None
    map_steps: tuple[str, ...] = ()
    present: np.ndarray | None = None

    @classmethod
    def from_item(cls, item: dict[str, Any]) -> CaseOutput:
        """Take an item with these entries, tensors or arrays; one that lacks a needed entry is an error."""
        case = str(item.get("case", "without a name"))
        missing = [key for key in ("case", "cams", "masks", "spacing_mm") if item.get(key) is None]
        if missing:
            raise ValueError(
                f"case {case}: the evaluator's output lacks {', '.join(missing)} "
                f"(found {', '.join(sorted(item))}); let the postprocessing leave them in its dictionary"
            )
        return cls(
            case=case,
            cams=np.asarray(_to_array(item["cams"])),
            masks=np.asarray(_to_array(item["masks"])),
            spacing_mm=tuple(float(value) for value in item["spacing_mm"]),
            mask=_to_array(item.get("mask")),
            image=_to_array(item.get("image")),
            affine=_to_array(item.get("affine")),
            map_steps=tuple(item.get("map_steps", ())),
            present=_to_array(item.get("present")),
        )

    def those_present(self, values: Any) -> Any:
        """Of names (a sequence) or arrays (N + 1, …) those of the maps that are present."""
        if self.present is None:
            return values
        if isinstance(values, np.ndarray):
            return values[self.present]
        return [value for value, shown in zip(values, self.present, strict=True) if shown]

    def panel(self, names: Sequence[str]) -> CasePanel:
        """Return the slice that a contact sheet shows; the case must have an image."""
        return make_panel(
            self.case,
            self.cams,
            self.masks,
            np.asarray(self.image),
            self.mask,
            names=names,
            spacing_mm=self.spacing_mm,
            affine=self.affine,
        )


def case_outputs(engine: Engine) -> Iterator[CaseOutput]:
    """Yield an engine's cases, one dictionary each, as MONAI's decollating leaves them.

    What the output lacks is taken from the batch: MONAI hands both to the postprocessing but afterwards
    leaves an entry that came with the batch (the case id, say) there.

    Raises:
        ValueError: if the output is no list, or an item lacks an entry.
    """
    output, batch = engine.state.output, engine.state.batch
    if not isinstance(output, list):
        raise ValueError(
            f"the evaluator's output must be a list of one dictionary a case, found {type(output).__name__}; "
            "leave `decollate` of the evaluator on"
        )
    sources = batch if isinstance(batch, list) and len(batch) == len(output) else [{}] * len(output)
    for source, item in zip(sources, output, strict=True):
        yield CaseOutput.from_item({**cast("dict[str, Any]", source), **cast("dict[str, Any]", item)})


def shown_by(engine: Engine) -> str:
    """What an evaluator's maps are, as its inferer says; CAMs if it says nothing."""
    return str(getattr(getattr(engine, "inferer", None), "shown", "CAM"))


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Refuse names of maps that do not end in ``fused`` or repeat one."""
    if isinstance(names, str) or len(names) < 2 or names[-1] != FUSED or len(set(names)) != len(names):
        raise ValueError(
            f"names must be the modalities and, last, {FUSED}, each once, found {names!r}; "
            f"give something like ['flair', 't1c', '{FUSED}']"
        )
    return tuple(str(name) for name in names)


def _to_array(value: Any) -> np.ndarray | None:
    """Return a tensor or array as an array, without copying where that can be."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype in (torch.bfloat16, torch.float16) else value).numpy()
    return None if value is None else np.asarray(value)
