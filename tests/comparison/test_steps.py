"""Our own tables in print, from results made by hand."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from bundle.comparison import RunResult, RunSpec
from bundle.comparison.beyond import FORMER, former_spec, lay_out_beyond
from bundle.comparison.footnotes import NONE
from bundle.comparison.results_store import read_result
from bundle.comparison.steps import lines_of, steps_to_csv, steps_to_markdown, write_steps
from tests.comparison.made_results import PAIR, case_row, run_result
from tests.comparison.test_tables import line, records

BEYOND, FEW = (lay_out_beyond(name, PAIR, 8) for name in ("beyond", "few"))
PATIENTS = "abcdef"
PAPER = run_result(RunSpec("proposed", PAIR), dict.fromkeys(PATIENTS, 0.5))
WITHOUT_KD = run_result(RunSpec("er_cmer", PAIR), dict.fromkeys(PATIENTS, 0.6))


def former(dice: float, **options) -> RunResult:
    spec = former_spec(PAIR)
    return run_result(spec, dict.fromkeys(PATIENTS, dice), readouts=spec.readouts, **options)


def few(method: str, number: int, dice: float) -> RunResult:
    own = ("cam", "plain") if method == "selftrain_masks" else ()
    spec = RunSpec(method, PAIR, options=(("training_cases", number),), label=f"few{number}", readouts=own)
    return run_result(spec, dict.fromkeys(PATIENTS, dice), readouts=own or ("cam", "cam_stage"))


def test_a_row_is_compared_with_the_one_before():
    text = steps_to_markdown(BEYOND, [PAPER, WITHOUT_KD])
    assert line(text, "ER, KD and CMER")[3:6] == [NONE, NONE, NONE]
    # six patients all better by 10 points: the smallest two-sided p of the signed-rank test, 2 / 2^6
    assert line(text, "Without KD")[3:6] == ["+10.0", "0.031", "0.031"]
    assert line(text, "Teachers by skill")[1:4] == [NONE, NONE, NONE]


def test_a_variant_is_compared_with_the_former_default_and_corrected_within_its_group():
    averaged = replace(
        former_spec(PAIR),
        options=(*FORMER, ("ema_momentum", 0.02)),
        label="former_averaged",
        readouts=("cam",),
    )
    worse = run_result(averaged, dict.fromkeys(PATIENTS, 0.6))
    lines = {item.places[0].row.label: item for item in lines_of(BEYOND, [former(0.7), worse])}
    found = lines["Averaged weights"].comparison
    assert found is not None
    assert found.difference == pytest.approx(-0.1)
    equal = lines["Fusion: mean"].comparison  # the same figures: no patient differs
    assert equal is not None
    assert (equal.n_equal, equal.p) == (6, None)
    assert found.p_holm == pytest.approx(2 / 2**6)  # the only test of the group


def test_minutes_are_the_mean_over_trainings():
    results = [replace(former(0.7), seconds=90.0), replace(former(0.7, seed=1), seconds=150.0)]
    text = steps_to_markdown(BEYOND, results)
    assert line(text, "Random walk in a band")[6] == "2.0"
    assert line(text, "Level of the map: otsu")[6] == "2.0"


def test_the_volume_in_healthy_patients_stands_beside_and_enters_no_score():
    result = former(0.7)
    healthy = case_row("h", "fused", 0.0, empty_truth=True, prediction_ml=3.0)
    result = replace(result, rows={name: [*rows, healthy] for name, rows in result.rows.items()})
    text = steps_to_markdown(BEYOND, [result])
    assert line(text, "Small components and holes")[1] == "70.0 ± 0.0"
    assert line(text, "Small components and holes")[7] == "3.0"
    assert line(steps_to_markdown(BEYOND, [former(0.7)]), "Random walk in a band")[7] == NONE


def test_nothing_is_bold_since_masks_were_seen_by_some():
    assert "**" not in steps_to_markdown(BEYOND, [PAPER, WITHOUT_KD])
    assert "bold" not in steps_to_markdown(BEYOND, [PAPER, WITHOUT_KD])


def test_the_share_is_the_chains_of_its_segmenter_with_masks():
    results = [few("chain", 4, 0.6), few("selftrain_masks", 4, 0.8), few("chain", 8, 0.7)]
    text = steps_to_markdown(FEW, results)
    assert line(text, "4")[1:] == ["60.0 ± 0.0"] * 2 + ["80.0 ± 0.0"] * 2 + ["75.0"]
    assert line(text, "8")[3:] == [NONE, NONE, NONE]


def test_the_csv_has_all_that_the_print_has():
    found = {row["row"]: row for row in records(steps_to_csv(BEYOND, [PAPER, WITHOUT_KD]))}
    row = found["Without KD"]
    assert (row["dice"], row["assd_mm"], row["n_patients"]) == ("60", "2", "6")
    assert (row["difference"], row["p"], row["seeds"]) == ("10", "0.03125", "0")
    assert found["Teachers by skill"]["dice"] == ""
    shares = list(
        csv.DictReader(io.StringIO(steps_to_csv(FEW, [few("chain", 4, 0.6), few("selftrain_masks", 4, 0.8)])))
    )
    assert [row["dice"] for row in shares[:4]] == ["60", "60", "80", "80"]
    assert {row["share_percent"] for row in shares[:4]} == {"75"}


def test_files_are_written_and_pictures_taken_from_runs_made_here(tmp_path):
    files = write_steps(BEYOND, [PAPER], [], "About.", tmp_path)
    assert [file.name for file in files] == ["beyond.md", "beyond.csv"]
    assert "About." in files[0].read_text(encoding="utf-8")


def test_a_result_knows_the_options_of_its_run(tmp_path):
    (tmp_path / "run.json").write_text(
        '{"method": "proposed", "modalities": ["t1"], "network": "", "early_fusion": false, "base": "default", '
        '"options": [["loss_terms#er", null], ["levels", 2]], "label": "x", "read_as": ["cam"], "seed": 0, '
        '"fold": null, "readouts": [], "rows": {}, "curves": {}, "thresholds": [], "code_version": "a", '
        '"precision": "float32", "device": "CPU", "seconds": null}'
    )
    options = (("loss_terms#er", None), ("levels", 2))
    assert read_result(tmp_path).spec == RunSpec(
        "proposed", ("t1",), base="default", options=options, label="x", readouts=("cam",)
    )


def test_the_share_is_of_the_better_bound():
    bound = few("selftrain_masks", 4, 0.8)
    better = [case_row(case, "fused", 0.9) for case in PATIENTS]
    bound = replace(bound, rows={**bound.rows, "plain": better})
    (first, *_) = lines_of(FEW, [few("chain", 4, 0.6), bound])
    assert first.share == pytest.approx(0.6 / 0.9)
