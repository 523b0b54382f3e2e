"""One slice of one test patient, kept from an evaluation for the pictures that compare methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events

from bundle.handlers.case_output import case_outputs
from bundle.metrics import FUSED
from bundle.metrics.case_panel import CasePanel
from bundle.metrics.case_scores import CaseRow


class PanelKeeper:
    """Keeps a panel of every case that an evaluator scores, and saves the one with the median lesion.

    Which patient is shown depends on the truth's volume alone, so it is the same for every method and says nothing of
    how well any of them did.

    Args:
        names: of the maps.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.panels: dict[str, CasePanel] = {}

    def attach(self, engine: Engine) -> None:
        """Listen to each case."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._keep)

    def _keep(self, engine: Engine) -> None:
        for case in case_outputs(engine):
            if case.image is not None:
                self.panels[case.case] = case.panel(self.names)

    def save(self, path: Path, rows: Sequence[CaseRow]) -> str | None:
        """Write the chosen panel; nothing if no case has a lesion.

        Args:
            path: ``.npz`` file to write.
            rows: the scores of the same evaluation.

        Returns:
            The case, or ``None``.
        """
        lesions = sorted(
            (row.truth_ml, row.case) for row in rows if row.map == FUSED and row.empty_truth is False
        )
        if not lesions:
            return None
        case = lesions[(len(lesions) - 1) // 2][1]
        fields = {name: value for name, value in asdict(self.panels[case]).items() if value is not None}
        np.savez_compressed(path, **fields)
        return case


def read_panel(path: Path) -> CasePanel:
    """A panel that `PanelKeeper` saved."""
    with np.load(path, allow_pickle=False) as stored:
        fields = {name: stored[name] for name in stored.files}
    return CasePanel(
        case=str(fields["case"]),
        slice_index=int(fields["slice_index"]),
        names=tuple(str(name) for name in fields["names"]),
        images=fields["images"],
        cams=fields["cams"],
        masks=fields["masks"],
        truth=fields.get("truth"),
        size_mm=(float(fields["size_mm"][0]), float(fields["size_mm"][1])),
        left=str(fields["left"]),
    )
