"""The handlers on a stock evaluator with tiny cases."""

import json

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.inferers import SimpleInferer
from torch import multiprocessing

from bundle.handlers.evaluation import EvaluationReport
from bundle.handlers.prediction_sheet import PredictionSheet
from bundle.inferers import CamInferer, ProbabilityInferer
from bundle.metrics import FUSED, MaskRule, read_rows

NAMES = ["flair", FUSED]
SPACING_MM = (1.0, 2.0, 5.0)


def make_case(number: int) -> dict:
    """A lesion of 3 x 3 x 2 voxels and a map that is moved by `number` voxels; case 3 is healthy."""
    truth = np.zeros((10, 8, 4), dtype=np.uint8)
    if number != 3:
        truth[2:5, 2:5, 1:3] = 1
    maps = np.stack([np.roll(truth, number + 1, axis=0), np.roll(truth, number, axis=0)]) * 0.9
    scan = np.random.default_rng(number).random((1, 10, 8, 4))
    return {
        "image": torch.from_numpy(maps).float(),  # the network below is the identity: maps in, maps out
        "label": torch.tensor(float(number != 3)),
        "case": f"case {number}",
        "truth": torch.from_numpy(truth),
        "scan": torch.from_numpy(scan).float(),
    }


class Restore:
    """Stands for the postprocessing that brings the maps to the scan's own grid."""

    def __init__(self, without: tuple[int, ...] = (), threshold: float = 0.5, **changes) -> None:
        self.without, self.changes = [f"case {number}" for number in without], changes
        self.threshold = threshold

    def __call__(self, data: dict) -> dict:
        masks = (data["pred"] > self.threshold).byte()
        found = {"cams": data["pred"], "masks": masks, "mask": data["truth"], "image": data["scan"]}
        grid = {"spacing_mm": SPACING_MM, "affine": np.diag([*SPACING_MM, 1.0])}
        if data["case"] in self.without:
            del found["mask"]
        return {**data, **found, **grid, **self.changes}


def run_evaluator(handler, numbers=(0, 1, 2, 3), inferer=None, **changes) -> SupervisedEvaluator:
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset([make_case(number) for number in numbers]), batch_size=2),
        network=torch.nn.Identity(),
        inferer=inferer,
        postprocessing=Restore(**changes),
        val_handlers=[handler],
    )
    evaluator.run()
    return evaluator


def test_every_case_and_map_gets_a_row(tmp_path):
    run_evaluator(EvaluationReport(tmp_path / "new" / "folder", NAMES))
    rows = read_rows(tmp_path / "new" / "folder" / "metrics.csv")
    assert [(row.case, row.map) for row in rows] == [
        (f"case {number}", name) for number in range(4) for name in NAMES
    ]
    # moved by 0, 1, 2 of 3 voxels: 3, 2, 1 thirds overlap; nothing in the healthy case
    assert [row.dice for row in rows[1::2]] == pytest.approx([1.0, 2 / 3, 1 / 3, 1.0])


def test_summary_and_table_agree_with_the_rows(tmp_path, capsys):
    report = EvaluationReport(tmp_path, NAMES)
    run_evaluator(report)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["maps"][FUSED]["dice"]["mean"] == pytest.approx(2 / 3)
    assert summary["maps"][FUSED]["healthy"]["n_called_empty"] == 1
    assert report.summary["maps"][FUSED]["dice"]["n"] == 3
    output = capsys.readouterr().out
    assert "| fused |   66.7 |" in output
    assert str(tmp_path / "contact_sheet.png") in output


def test_the_sheet_shows_best_median_and_worst(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "bundle.handlers.evaluation.draw_contact_sheet",
        lambda path, blocks, rule, shown: drawn.update({block.title: block.panel.case for block in blocks}),
    )
    run_evaluator(EvaluationReport(tmp_path, NAMES))
    assert drawn == {"best": "case 0", "median": "case 1", "worst": "case 2"}


def test_a_sheet_is_written_as_png(tmp_path):
    run_evaluator(EvaluationReport(tmp_path, NAMES))
    assert (tmp_path / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")


def test_no_sheet_if_none_is_wanted(tmp_path):
    run_evaluator(EvaluationReport(tmp_path, NAMES, sheet=False))
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.csv", "summary.json"}


def test_no_volume_is_kept(tmp_path):
    report = EvaluationReport(tmp_path, NAMES)
    sizes = []

    def measure(engine) -> None:
        kept = [value for scores in report._scores.values() for value in vars(scores).values()]
        sizes.append(max(value.size for value in kept if isinstance(value, np.ndarray)))

    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset([make_case(0), make_case(1)]), batch_size=1),
        network=torch.nn.Identity(),
        postprocessing=Restore(),
        val_handlers=[report],
    )
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, measure)
    evaluator.run()
    assert sizes == [2 * 19, 2 * 19]  # two curves over 19 thresholds, whatever the size of the scan


def test_masks_are_scored_as_they_come_and_the_rule_is_told(tmp_path):
    report = EvaluationReport(tmp_path, NAMES, MaskRule("otsu"), thresholds=[0.5, 0.95])
    run_evaluator(report, threshold=0.95)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["threshold"] == "otsu"
    assert summary["maps"][FUSED]["dice"]["mean"] == 0.0
    assert summary["maps"][FUSED]["dice_curve"]["mean_dice"] == pytest.approx([2 / 3, 0.0])


def test_cases_without_masks_are_listed_and_not_scored(tmp_path, capsys):
    run_evaluator(EvaluationReport(tmp_path, NAMES), without=(1, 3))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["n_without_mask"] == 2
    assert summary["maps"][FUSED]["dice"]["mean"] == pytest.approx((1 + 1 / 3) / 2)  # of cases 0 and 2
    rows = [row for row in read_rows(tmp_path / "metrics.csv") if row.map == FUSED]
    assert [row.empty_truth for row in rows] == [False, None, False, None]
    assert rows[1].prediction_ml == pytest.approx(18 * 10 / 1000)  # 3 x 3 x 2 voxels of 10 mm3
    assert (tmp_path / "contact_sheet.png").is_file()
    assert "2 cases have no mask and are not scored" in capsys.readouterr().out


def test_no_mask_at_all_is_an_error_at_the_end(tmp_path):
    with pytest.raises(
        ValueError, match=r"none of 4 cases \(case 0 …\) has a true mask.*or run inference instead"
    ):
        run_evaluator(EvaluationReport(tmp_path, NAMES), mask=None)
    assert not (tmp_path / "metrics.csv").exists()


def test_a_handler_serves_a_second_run_afresh(tmp_path):
    report = EvaluationReport(tmp_path, NAMES)
    run_evaluator(report)
    run_evaluator(report, numbers=(1,))
    assert {row.case for row in read_rows(tmp_path / "metrics.csv")} == {"case 1"}


def test_masks_are_made_nowhere_else(tmp_path):
    with pytest.raises(ValueError, match="case 0: the evaluator's output lacks masks"):
        run_evaluator(EvaluationReport(tmp_path, NAMES), masks=None)


def test_a_missing_entry_is_an_error_that_names_the_case(tmp_path):
    with pytest.raises(ValueError, match=r"case 0: the evaluator's output lacks spacing_mm"):
        run_evaluator(EvaluationReport(tmp_path, NAMES), spacing_mm=None)


@pytest.mark.parametrize("names", ["fused", ["fused"], ["flair", "t1c"], ["flair", "flair", "fused"]])
def test_names_that_cannot_be_are_an_error(tmp_path, names):
    with pytest.raises(ValueError, match="names must be the modalities and, last, fused"):
        EvaluationReport(tmp_path, names)


def test_a_prediction_sheet_shows_the_largest_masks(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "bundle.handlers.prediction_sheet.draw_contact_sheet",
        lambda path, blocks, rule, shown: drawn.extend((b.panel.case, b.panel.truth) for b in blocks),
    )
    sheet = PredictionSheet(tmp_path, NAMES)
    run_evaluator(sheet, numbers=(3, 0, 1, 2), mask=None)
    assert drawn == [("case 0", None), ("case 1", None), ("case 2", None)]
    assert len(sheet._panels) == 3


@pytest.mark.parametrize(("inferer", "title"), [(CamInferer, "CAM"), (ProbabilityInferer, "probability")])
@pytest.mark.parametrize("handler", [EvaluationReport, PredictionSheet])
def test_a_sheet_calls_the_maps_what_the_inferer_does(handler, inferer, title, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(f"{handler.__module__}.draw_contact_sheet", lambda *given: drawn.append(given[-1]))
    reading = SimpleInferer()
    reading.shown = inferer.shown
    run_evaluator(handler(tmp_path, NAMES), inferer=reading)
    assert drawn == [title]


def test_a_prediction_sheet_is_written_as_png(tmp_path):
    run_evaluator(PredictionSheet(tmp_path, NAMES), mask=None)
    assert (tmp_path / "predictions.png").read_bytes().startswith(b"\x89PNG")


def test_a_prediction_sheet_needs_the_scan(tmp_path):
    with pytest.raises(ValueError, match="case 0: a contact sheet needs the scan"):
        run_evaluator(PredictionSheet(tmp_path, NAMES), image=None)


def _run_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    try:
        numbers = [(0, 1), (2, 0)][rank]  # case 0 was given to both, as samplers do to even the ranks out
        run_evaluator(EvaluationReport(f"{folder}/rank{rank}", NAMES), numbers=numbers)
    finally:
        torch.distributed.destroy_process_group()


def test_two_processes_write_one_report_with_each_case_once(tmp_path):
    multiprocessing.spawn(_run_rank, args=(str(tmp_path),), nprocs=2)
    rows = read_rows(tmp_path / "rank0" / "metrics.csv")
    assert [row.case for row in rows[1::2]] == ["case 0", "case 1", "case 2"]
    assert (tmp_path / "rank0" / "contact_sheet.png").is_file()
    assert not (tmp_path / "rank1").exists()
