"""The handler that draws what an inference found, without any truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ignite import distributed as idist
from ignite.engine import Engine, Events

from bundle.handlers.case_output import case_outputs, check_names, shown_by
from bundle.metrics import MaskRule
from bundle.metrics.case_panel import CasePanel
from bundle.metrics.case_scores import check_maps
from bundle.metrics.contact_sheet import SheetBlock, draw_contact_sheet, pick_largest


class PredictionSheet:
    """Draw ``predictions.png`` of an inference without masks: the three cases with the largest fused mask.

    Takes the same items as `EvaluationReport` and keeps three slices at a time. Under several processes
    each one that is not the first stays silent, and the first shows the cases it saw.

    Args:
        output_dir: folder to write to; made if missing.
        names: name of each map: the modalities and ``fused``.
        rule: what made the masks, for the legend.
    """

    def __init__(self, output_dir: Path | str, names: Sequence[str], rule: MaskRule | None = None) -> None:
        self.output_dir = Path(output_dir)
        self.names = check_names(names)
        self.rule = rule or MaskRule()
        self._volumes_ml: dict[str, float] = {}
        self._panels: dict[str, CasePanel] = {}

    def attach(self, engine: Engine) -> None:
        """Listen to an engine's start, iterations and completion."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._keep)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self._volumes_ml, self._panels = {}, {}

    def _keep(self, engine: Engine) -> None:
        for case in case_outputs(engine):
            check_maps(case.case, case.cams, case.masks, None, self.names)
            if case.image is None:
                raise ValueError(
                    f"case {case.case}: a contact sheet needs the scan under `image`, found none; let the "
                    "postprocessing keep it"
                )
            voxel_ml = float(np.prod(case.spacing_mm)) / 1000.0
            self._volumes_ml[case.case] = np.count_nonzero(case.masks[-1]) * voxel_ml
            kept = set(pick_largest(self._volumes_ml).values())
            if case.case in kept:
                self._panels[case.case] = case.panel(self.names)
            self._panels = {name: panel for name, panel in self._panels.items() if name in kept}

    def _finish(self, engine: Engine) -> None:
        if idist.get_rank() != 0 or not self._panels:
            return
        self.output_dir.mkdir(parents=True, exist_ok=True)
        blocks = [
            SheetBlock(f"{title}  ·  {self._volumes_ml[case]:.1f} ml", self._panels[case])
            for title, case in pick_largest(self._volumes_ml).items()
        ]
        path = self.output_dir / "predictions.png"
        draw_contact_sheet(path, blocks, self.rule, shown_by(engine))
        print(path, flush=True)
