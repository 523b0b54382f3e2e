"""One run: trained, evaluated by each readout, kept once and whole."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from ignite.engine import Engine

from bundle.chain import ChainOptions
from bundle.comparison import stage_runs
from bundle.comparison.cohort import Cohort, open_cohort
from bundle.comparison.execution import rehearse_all, write_request
from bundle.comparison.intensity_baseline import score_baseline
from bundle.comparison.one_run import device_name, perform, rehearse
from bundle.comparison.panels import PanelKeeper, read_panel
from bundle.comparison.plan import plan_runs
from bundle.comparison.results_store import read_about, read_result
from bundle.comparison.runs import CHAIN, INTENSITY, MASK_SEGMENTER, PROPOSED, Run, RunSpec
from bundle.comparison.scales import SCALES
from bundle.handlers import LossTermHandler
from bundle.metrics import FUSED, CaseRow
from tests.metrics.test_contact_sheet import block
from tests.running import make_raw, prepare

SPEC = RunSpec(PROPOSED, ("flair", "t1c"))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cohort:
    folder = tmp_path_factory.mktemp("one_run")
    prepared = prepare(make_raw(folder / "raw"), folder / "prepared")
    return open_cohort(str(prepared), folder, SCALES["smoke"].phantom["brain"], "brain", None)


def planned(cohort: Cohort, spec: RunSpec = SPEC) -> Run:
    (run,) = plan_runs([spec], cohort, SCALES["smoke"], [0])
    return run


def asked(cohort: Cohort, output_dir: Path, spec: RunSpec = SPEC, **options) -> dict:
    request = write_request(planned(cohort, spec), cohort, output_dir, {"scale": "smoke"}, **options)
    return json.loads(request.read_text())


@pytest.fixture(scope="module")
def made(cohort, tmp_path_factory) -> Path:
    output_dir = tmp_path_factory.mktemp("made")
    request = asked(cohort, output_dir)
    perform(request)
    return Path(request["result"])


def test_a_result_holds_every_readout_and_where_it_comes_from(made, cohort):
    result = read_result(made)
    assert result.spec == SPEC
    assert set(result.rows) == {"cam", "gradcampp"}
    assert {(row.case, row.map) for row in result.rows["cam"]} == {
        ("004", m) for m in ("flair", "t1c", "fused")
    }
    assert set(result.curves) == {"flair", "t1c", "fused"}
    assert len(result.curves["fused"]) == len(result.thresholds)
    about = read_about(made)
    assert about["data"] == {"source": "brats", "spatial_size": 16, "cases": cohort.cases}
    assert about["identity"] == made.name.rsplit("_", 1)[1]
    assert about["scale"] == "smoke"
    config = yaml.safe_load((made / "config.yaml").read_text())
    assert (config["width"], config["epochs"], config["seed"]) == (2, 1, 0)


def test_what_is_there_is_left_alone(made, cohort):
    before = {file: file.stat().st_mtime_ns for file in made.iterdir()}
    perform(asked(cohort, made.parents[1]))
    assert {file: file.stat().st_mtime_ns for file in made.iterdir()} == before


def test_an_interrupted_run_goes_on_and_gives_the_same_figures(made, cohort, tmp_path, monkeypatch, capfd):
    longer = replace(SCALES["smoke"], options={"brain": {**SCALES["smoke"].options["brain"], "epochs": 2}})
    (run,) = plan_runs([SPEC], cohort, longer, [0])
    rows = []
    for name in ("undisturbed", "killed"):
        request = json.loads(write_request(run, cohort, tmp_path / name, {}).read_text())
        if name == "killed":
            with monkeypatch.context() as patch:
                patch.setattr(LossTermHandler, "_log", stop_in_epoch_2)
                with pytest.raises(RuntimeError):
                    perform(request)
            assert not Path(request["result"]).exists()
        perform(request)
        rows.append((Path(request["result"]) / "cam.csv").read_text())
    assert "going on from" in capfd.readouterr().out
    assert rows[0] == rows[1]
    assert math.isnan(read_result(Path(request["result"])).seconds)  # only a part of the time is known


def stop_in_epoch_2(handler: LossTermHandler, engine: Engine) -> None:
    if engine.state.epoch == 2:
        raise RuntimeError("the power is gone")


def test_a_run_without_a_gradient_has_one_readout(cohort, tmp_path):
    request = asked(cohort, tmp_path, replace(SPEC, method="supervised"))
    perform(request)
    assert set(read_result(Path(request["result"])).rows) == {"cam"}


def test_a_rehearsal_times_steps_and_trains_nothing(cohort, tmp_path):
    file = tmp_path / "rehearsal.json"
    rehearse(asked(cohort, tmp_path, rehearsal=file))
    found = json.loads(file.read_text())
    assert found["seconds_per_step"] > 0
    assert found["steps_per_epoch"] == 1  # ten tagged slices in one batch of 16
    assert not list(tmp_path.rglob("*.pt"))


def test_hours_follow_from_the_seconds_of_a_step(cohort, tmp_path):
    run = planned(cohort)
    folder = tmp_path / "rehearsals" / device_name()
    folder.mkdir(parents=True)
    (folder / f"{run.name}.json").write_text(json.dumps({"seconds_per_step": 1.8, "steps_per_epoch": 1000}))
    (estimate,), failed = rehearse_all([run], cohort, tmp_path)
    assert not failed
    assert estimate.hours == pytest.approx(0.5)  # 1.8 s x 1000 steps x 1 epoch = 1800 s
    assert estimate.runs == 1


def test_the_patient_in_the_picture_is_the_one_with_the_median_lesion(tmp_path):
    keeper = PanelKeeper(["flair", "t1c", FUSED])
    shown = block("x", 0).panel
    keeper.panels = {case: replace(shown, case=case) for case in "abcd"}
    volumes = {"a": 30.0, "b": 10.0, "c": 20.0, "d": 0.0}
    rows = [
        CaseRow(
            case,
            FUSED,
            0.5,
            1.0,
            1.0,
            1.0,
            0.5,
            truth_ml=ml,
            prediction_ml=1.0,
            empty_truth=ml == 0,
            empty_prediction=False,
        )
        for case, ml in volumes.items()
    ]
    keeper.save(tmp_path / "panel.npz", rows)
    found = read_panel(tmp_path / "panel.npz")
    assert found.case == "c"
    assert (found.images == shown.images).all()
    assert found.names == shown.names


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Cohort:
    """At 32 x 32 pixels, which the segmenter's four poolings need."""
    folder = tmp_path_factory.mktemp("wide")
    prepared = prepare(make_raw(folder / "raw"), folder / "prepared", spatial_size=32)
    return open_cohort(str(prepared), folder, SCALES["smoke"].phantom["brain"], "brain", None)


def test_a_threshold_gives_a_result_without_training(cohort, tmp_path):
    spec = RunSpec(INTENSITY, ("flair", "t1c"), options=(("rule", "training"),), label="training")
    request = asked(cohort, tmp_path, spec)
    perform(request)
    result = read_result(Path(request["result"]))
    assert (result.spec, result.seconds) == (spec, 0.0)
    assert {row.map for row in result.rows["cam"]} == {"flair", "t1c", "fused"}


def test_the_segmenter_learns_from_masks(wide, tmp_path):
    spec = RunSpec(MASK_SEGMENTER, ("flair", "t1c"), options=(("training_cases", 1),), label="few1")
    request = asked(wide, tmp_path, spec)
    perform(request)
    assert read_result(Path(request["result"])).spec == spec
    config = yaml.safe_load((Path(request["result"]) / "config.yaml").read_text())
    assert (config["training_slices"], config["training_cases"]) == ("bundle.data.MaskSliceDataset", 1)


def test_a_chain_gives_its_masks_and_those_of_its_cam_stage(wide, tmp_path, monkeypatch):
    """Each stage is a command of its own: tests/end_to_end/test_tags_to_masks.py; here they are stood in for."""
    spec = RunSpec(CHAIN, ("flair", "t1c"), options=(("training_cases", 2),), label="few2")
    seen = []

    def stand_in(options: ChainOptions) -> dict:
        seen.append(options)
        score_baseline("training", options.dataset_dir, options.output_dir / "evaluation")
        network = RunSpec(PROPOSED, ("flair", "t1c"), base="default", readouts=("cam",))
        cam = asked(wide, tmp_path / "stand_in", network)
        perform(cam)
        shutil.copytree(Path(cam["folder"]) / "models", options.output_dir / "cam" / "models")
        return {"stages": [{"seconds": 1.5}, {"seconds": 2.0}], "made_by": "segmenter_1"}

    monkeypatch.setattr(stage_runs, "run_chain", stand_in)
    request = asked(wide, tmp_path, spec)
    perform(request)
    result = read_result(Path(request["result"]))
    assert (result.spec, result.seconds) == (spec, 3.5)
    assert {name: len(rows) for name, rows in result.rows.items()} == {"cam": 3, "cam_stage": 3}
    assert read_about(Path(request["result"]))["made_by"] == "segmenter_1"
    (options,) = seen
    assert options.segmenter_training["training_cases"] == options.cam_training["training_cases"] == 2
