"""The handler that scores an evaluator's maps, one case at a time, and writes the report."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from ignite import distributed as idist
from ignite.engine import Engine, Events

from bundle.data import CaseDataset
from bundle.handlers.case_output import case_outputs, check_names, shown_by
from bundle.metrics.case_panel import CasePanel
from bundle.metrics.case_scores import CaseScores, check_maps, score_case
from bundle.metrics.contact_sheet import SheetBlock, draw_contact_sheet, pick_cases
from bundle.metrics.mask_rule import MaskRule
from bundle.metrics.report import write_rows, write_summary
from bundle.metrics.summary import format_table, headline
from bundle.metrics.threshold_sweep import THRESHOLDS


class EvaluationReport:
    """Score each case's masks as it leaves a stock ``SupervisedEvaluator`` and write the report at the end.

    ``engine.state.output`` must be a list of one dictionary a case (what MONAI's decollating gives) with
    ``case``, ``cams`` (N + 1, X, Y, Z) in [0, 1] on the scan's own grid with the fused map last, ``masks`` made of
    them, and ``spacing_mm``; optionally ``mask`` (X, Y, Z), ``image`` (K, X, Y, Z) for the pictures and ``affine``,
    to bring them upright. Only numbers and one small slice a case are kept (the slices on disk), so memory
    does not grow with the number of cases.

    Written at the end: ``metrics.csv``, ``summary.json`` and, where images were given,
    ``contact_sheet.png`` with the best, median and worst case by fused Dice. A map that the item's ``present``
    (N + 1,) says is of a missing branch has no row and counts in no mean. The table is printed. With
    several processes the cases are gathered, a case that two of them saw (a sampler's padding) counts once,
    and the first process writes.

    Args:
        output_dir: folder to write to; made if missing.
        names: name of each map: the modalities and ``fused``.
        rule: what made the masks, for the report; by default the paper's, 0.5.
        thresholds: those of the Dice curve, which is made of the maps. Nothing is chosen by it.
        sheet: whether to draw the contact sheet.

    Raises:
        ValueError: while running, if an item lacks an entry or its arrays do not fit; it names the case. At
            the end, if no case had a mask; a few without one are listed and enter no score.
    """

    def __init__(
        self,
        output_dir: Path | str,
        names: Sequence[str],
        rule: MaskRule | None = None,
        thresholds: Sequence[float] = THRESHOLDS,
        sheet: bool = True,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.names = check_names(names)
        self.rule = rule or MaskRule()
        self.thresholds = tuple(float(value) for value in thresholds)
        self.sheet = sheet
        self.summary: dict[str, Any] | None = None
        self._scores: dict[str, CaseScores] = {}
        self._panels: _PanelStore | None = None
        self._available: list[str] | None = None

    def attach(self, engine: Engine) -> None:
        """Listen to an engine's start, iterations and the end of its epoch, at which loggers read the metrics."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self.summary = None
        self._scores = {}
        self._panels = _PanelStore()
        self._available = _restricted_to(engine)

    def _score(self, engine: Engine) -> None:
        for case in case_outputs(engine):
            if case.case in self._scores:
                continue
            self.rule = replace(self.rule, map_steps=case.map_steps)
            check_maps(case.case, case.cams, case.masks, case.mask, self.names)
            self._scores[case.case] = score_case(
                case.case,
                case.those_present(case.cams),
                case.those_present(case.masks),
                case.mask,
                names=case.those_present(self.names),
                spacing_mm=case.spacing_mm,
                thresholds=self.thresholds,
            )
            if self.sheet and case.image is not None and self._panels is not None:
                self._panels.put(case.panel(self.names))

    def _finish(self, engine: Engine) -> None:
        gathered: dict[str, CaseScores] = {}
        for part in _gather(self._scores):
            gathered.update(part)
        scores = [gathered[case] for case in sorted(gathered)]
        picks = pick_cases(scores)
        panels: dict[str, CasePanel] = {}
        if self._panels is not None:
            for shown in _gather(
                {case: self._panels.get(case) for case in picks.values() if case in self._panels}
            ):
                panels.update(shown)
            self._panels.close()
            self._panels = None
        _check_masks(scores)
        if idist.get_rank() != 0:
            return
        self.output_dir.mkdir(parents=True, exist_ok=True)
        self.summary = write_summary(
            self.output_dir / "summary.json",
            scores,
            self.rule,
            self.thresholds,
            self.names,
            self._available,
            weights_sha256=getattr(engine.state, "weights_sha256", None),
        )
        engine.state.metrics.update(headline(self.summary))
        rows = [row for entry in scores for row in entry.rows]
        write_rows(self.output_dir / "metrics.csv", rows, self.rule, self._available)
        blocks = [
            SheetBlock(title, panels[case], gathered[case]) for title, case in picks.items() if case in panels
        ]
        written = ["metrics.csv", "summary.json"]
        if blocks:
            draw_contact_sheet(self.output_dir / "contact_sheet.png", blocks, self.rule, shown_by(engine))
            written.append("contact_sheet.png")
        print(f"\n{format_table(self.summary)}\n")
        print("\n".join(str(self.output_dir / name) for name in written), flush=True)


class _PanelStore:
    """Slices of cases on disk, a file each: which ones the sheet shows is known only at the end."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="panels_")
        self._files: dict[str, Path] = {}

    def __contains__(self, case: str) -> bool:
        return case in self._files

    def put(self, panel: CasePanel) -> None:
        path = Path(self._folder.name) / f"{len(self._files)}.bin"
        path.write_bytes(zlib.compress(pickle.dumps(panel), level=1))
        self._files[panel.case] = path

    def get(self, case: str) -> CasePanel:
        return pickle.loads(zlib.decompress(self._files[case].read_bytes()))

    def close(self) -> None:
        self._folder.cleanup()


def _restricted_to(engine: Engine) -> list[str] | None:
    """Modalities that an evaluator's cases may use, where these are not all."""
    dataset = getattr(getattr(engine, "data_loader", None), "dataset", None)
    if not isinstance(dataset, CaseDataset) or set(dataset.usable) == set(dataset.modalities):
        return None
    return list(dataset.usable)


def _check_masks(scores: Sequence[CaseScores]) -> None:
    if scores and all(entry.fused.empty_truth is None for entry in scores):
        raise ValueError(
            f"none of {len(scores)} cases ({scores[0].case} …) has a true mask, expected at least one to score; "
            "prepare the data with masks, name them as `label` in the datalist or as mask in `patterns`, or "
            "run inference instead"
        )


def _gather(part: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every process's part, in order of rank; a list of one without several processes."""
    if idist.get_world_size() == 1:
        return [part]
    parts: list[dict[str, Any]] = [{} for _ in range(idist.get_world_size())]
    torch.distributed.all_gather_object(parts, part)
    return parts
