"""Printed tables say what was measured, what was not, and what must not be cited."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import pytest

from bundle.comparison import RunSpec, lay_out, to_csv, to_markdown
from bundle.comparison.footnotes import NONE
from tests.comparison.made_results import PAIR, case_row, empty_row, run_result

CAM, ER, PROPOSED = (RunSpec(method, PAIR) for method in ("cam", "er", "proposed"))
TABLE = lay_out("table1", PAIR)
RESULTS = [
    run_result(CAM, {"a": 0.4, "b": 0.6}, 0),
    run_result(CAM, {"a": 0.6, "b": 0.6}, 1),
    run_result(PROPOSED, {"a": 0.7, "b": 0.9}, 0),
    run_result(PROPOSED, {"a": 0.7, "b": 0.9}, 1),
]


def line(text: str, start: str) -> list[str]:
    """Cells of the first line that starts so."""
    wanted = start.split(" | ")
    lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines())
    return next(cells for cells in lines if cells[: len(wanted)] == wanted)


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_cell_holds_mean_spread_over_patients_and_spread_over_seeds():
    # Baseline: seeds' means 50 and 60, SD over patients 14.1 and 0, SD of the means 7.07 (test_statistics).
    assert line(to_markdown(TABLE, RESULTS), "Baseline")[1] == "55.0 ± 7.1 (7.1)"


def test_one_seed_shows_no_spread_over_seeds():
    assert line(to_markdown(TABLE, RESULTS[:1]), "Baseline")[1] == "50.0 ± 14.1"


def test_the_best_of_a_column_is_bold():
    text = to_markdown(TABLE, RESULTS)
    assert line(text, "Proposed")[1] == "**80.0** ± 14.1 (0.0)"


def test_equal_figures_have_no_best_and_the_lower_distance_is_better():
    text = to_markdown(TABLE, RESULTS)
    assert "**2.00**" not in text
    nearer = [case_row("a", name, 0.1, assd_mm=1.0) for name in (*PAIR, "fused")]
    far = replace(RESULTS[0], spec=ER, rows={"cam": nearer})
    assert line(to_markdown(TABLE, [*RESULTS, far]), "SEAM (all)")[2] == "**1.00**"


def test_a_distance_that_leaves_empty_masks_out_is_never_the_best():
    lucky = [case_row("a", "t1c", 0.9, assd_mm=0.1), empty_row("b", "t1c")]
    far = [case_row(case, "t1c", 0.1, assd_mm=5.0) for case in "ab"]
    results = [replace(RESULTS[0], spec=s, rows={"cam": rows}) for s, rows in ((CAM, lucky), (ER, far))]
    text = to_markdown(TABLE, [*results, RESULTS[2]])
    assert [line(text, label)[2] for label in ("Baseline", "SEAM (all)")] == ["0.10 °", "5.00 ± 0.00"]
    assert line(text, "Proposed")[2] == "**2.00** ± 0.00"
    assert "n_undefined in the CSV); never in bold." in text


def test_full_supervision_is_never_the_best():
    bound = run_result(RunSpec("supervised", PAIR), {"a": 1.0, "b": 1.0}, readouts=("cam",))
    text = to_markdown(lay_out("table1", PAIR, also=["supervised"]), [*RESULTS, bound])
    assert line(text, "supervised *")[1] == "100.0 ± 0.0"
    assert line(text, "Proposed")[1] == "**80.0** ± 14.1 (0.0)"


def test_an_infinite_ratio_is_printed_so_and_is_inf_in_the_csv():
    table = lay_out("table5", PAIR)
    rows = {ER: case_row("a", "t1c", 0.0, under_ratio=math.nan), PROPOSED: case_row("a", "t1c", 0.5)}
    results = [replace(RESULTS[0], spec=spec, rows={"cam": [row]}) for spec, row in rows.items()]
    assert line(to_markdown(table, results), "r_u") == ["r_u", NONE, "∞", "**1.00**"]
    assert [record["mean"] for record in records(to_csv(table, results))[:3]] == ["", "inf", "1"]


def test_a_table_too_wide_beside_the_paper_is_printed_in_parts():
    four = ("t1", "t1c", "t2", "flair")
    for name, parts in (("table1", 4), ("table2", 2), ("table3", 2), ("table7", 2)):
        table = lay_out(name, four)
        for against_paper, number in ((False, len(table.blocks)), (True, parts)):
            text = to_markdown(table, [], against_paper=against_paper)
            grids = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
            assert len(grids) == number
            assert all(len({len(row) for row in grid}) == 1 for grid in grids)  # each is aligned
            ticks = max(1, len(table.blocks[0].ticks))
            figures = sum(row.count("|") - 1 - ticks for row in (grid[0] for grid in grids))
            assert figures == sum(len(block.columns) for block in table.blocks)


def test_the_best_of_a_row_is_bold_where_methods_are_columns():
    table = lay_out("table5", PAIR)
    rows = {
        spec: [case_row("a", name, 0.5, under_ratio=ratio) for name in PAIR]
        for spec, ratio in ((ER, 3.0), (PROPOSED, 1.5))
    }
    results = [replace(RESULTS[0], spec=spec, rows={"cam": found}) for spec, found in rows.items()]
    assert line(to_markdown(table, results), "r_u") == ["r_u", NONE, "3.00", "**1.50**"]


def test_a_missing_run_is_a_dash_and_named():
    text = to_markdown(TABLE, RESULTS)
    assert line(text, "SEAM (all)")[1:] == [NONE] * 6
    assert "er_flair-t1c (cam)" in text


def test_a_map_that_a_run_lacks_is_named():
    rows = {"cam": [row for row in RESULTS[0].rows["cam"] if row.map != "fused"]}
    text = to_markdown(TABLE, [replace(RESULTS[0], rows=rows)])
    assert "cam_flair-t1c (cam), map fused" in text


def test_mixed_code_is_told():
    assert "Made by version abc1234 of the code." in to_markdown(TABLE, RESULTS)
    mixed = [*RESULTS[:3], replace(RESULTS[3], code_version="fff0000")]
    expected = "abc1234 (cam_flair-t1c, proposed_flair-t1c); fff0000 (proposed_flair-t1c)"
    assert f"Made by different versions of the code: {expected}." in to_markdown(TABLE, mixed)


def test_mixed_devices_are_told():
    assert "Made on" not in to_markdown(TABLE, [replace(run, made_on="float32 on CPU") for run in RESULTS])
    mixed = [
        replace(run, made_on=f"float32 on {on}")
        for run, on in zip(RESULTS, ["CPU"] * 3 + ["GPU"], strict=True)
    ]
    expected = "float32 on CPU (cam_flair-t1c, proposed_flair-t1c); float32 on GPU (proposed_flair-t1c)"
    assert f"Made on different devices or in different precision: {expected}." in to_markdown(TABLE, mixed)


def test_a_run_of_another_table_is_not_counted_in():
    other = run_result(RunSpec("kd", PAIR), {"a": 0.1}, version="fff0000")
    assert "fff0000" not in to_markdown(TABLE, [*RESULTS, other])


def test_patients_and_seeds_stand_below():
    text = to_markdown(TABLE, RESULTS[:3])
    assert "2 patients with a lesion; seeds 0, 1." in text
    assert "Only seed 0: proposed_flair-t1c." in text


def test_empty_masks_are_told():
    rows = {"cam": [empty_row("a", "t1c"), case_row("b", "t1c", 0.5)]}
    assert "° some masks are empty" in to_markdown(TABLE, [replace(RESULTS[0], rows=rows)])


def test_the_published_mean_stands_beside_ours():
    text = to_markdown(TABLE, RESULTS, against_paper=True)
    assert line(text, "Baseline")[1] == "55.0 ± 7.1 (7.1) / 36.3"
    assert line(text, "SEAM (all)")[1] == f"{NONE} / 43.4"


def test_the_repeated_column_is_never_shown_without_its_mark():
    table = lay_out("table3", ("t1c", "t2"))
    text = to_markdown(table, [], against_paper=True)
    assert line(text, f"✓ | {NONE} | {NONE}")[3:] == [f"{NONE} / 51.4 †", f"{NONE} / 11.92 †"]
    assert line(text, "✓ | ✓ | ✓")[3:] == [f"{NONE} / 59.2", f"{NONE} / 10.35"]
    assert "† the paper repeats its T1c-FLAIR column here; do not cite that figure." in text
    notes = {record["row"]: record["published_note"] for record in records(to_csv(table, []))}
    assert notes["KD"] == "the paper repeats its T1c-FLAIR column here"
    assert notes["KD + ER + CMER"] == ""


def test_only_differences_in_protocol_are_listed():
    items = [("epochs", "8", "30"), ("threshold", "0.5", "0.5")]
    text = to_markdown(TABLE, RESULTS, against_paper=True, protocol=items)
    assert line(text, "epochs") == ["epochs", "8", "30"]
    assert "threshold" not in text
    assert "epochs" not in to_markdown(TABLE, RESULTS, protocol=items)


def test_table_7_prints_gains_in_points():
    early = run_result(RunSpec("cam", PAIR, early_fusion=True), {"a": 0.5, "b": 0.5})
    table = lay_out("table7", PAIR)
    assert line(to_markdown(table, [early, *RESULTS[2:]]), "T1c-FLAIR")[-3:] == ["+30.0", "+30.0", NONE]
    text = to_markdown(table, [early, *RESULTS[2:]], against_paper=True)
    assert line(text, "T1c-FLAIR")[-2:] == ["+30.0 / +4.9", NONE]  # the part of CAM ends in the upper bound
    gain = next(r for r in records(to_csv(table, [early, *RESULTS[2:]])) if r["column"] == "Gain CAM")
    assert (gain["metric"], gain["mean"], gain["published_mean"]) == ("dice_gain", "30", "4.92")


def test_the_csv_has_a_row_a_cell_in_the_units_of_print():
    rows = records(to_csv(TABLE, RESULTS))
    assert len(rows) == 2 * 4 * 6
    first = rows[0]
    assert (first["block"], first["group"], first["row"], first["column"]) == (
        "T1c-FLAIR",
        "CAM",
        "Baseline",
        "T1c",
    )
    assert (first["run"], first["readout"], first["map"], first["metric"]) == (
        "cam_flair-t1c",
        "cam",
        "t1c",
        "dice",
    )
    assert float(first["mean"]) == pytest.approx(55.0)
    assert float(first["sd_seeds"]) == pytest.approx(7.07107)
    assert (first["seeds"], first["n_patients"], first["published_sd"]) == ("0 1", "2", "18.33")
    missing = next(row for row in rows if row["row"] == "SEAM (all)")
    assert (missing["mean"], missing["n_patients"]) == ("", "")


def test_a_further_method_is_marked():
    text = to_markdown(lay_out("table1", PAIR, also=["seam"]), RESULTS)
    assert line(text, "seam *")
    assert "Rows with * are not in the paper." in text


def test_a_table_that_the_data_set_cannot_fill_says_why():
    text = to_markdown(lay_out("table2", PAIR), RESULTS)
    assert "Left out: T1-T2-T1c-FLAIR: the data set has no t1, t2." in text


def test_comparisons_stand_below():
    dices = {f"{i:02}": 0.5 + 0.01 * i for i in range(6)}
    worse = {case: dice - 0.1 - 0.01 * i for i, (case, dice) in enumerate(dices.items())}
    text = to_markdown(TABLE, [run_result(PROPOSED, dices), run_result(CAM, worse)])
    assert line(text, "T1c-FLAIR | CAM")[2:] == ["Baseline", "6", "0", "+12.5", "0.031", "0.031"]
    assert "Corrected by Holm for all tests of a readout (1 with CAM and 1 with GradCAM++)" in text
    assert line(to_markdown(TABLE, RESULTS), "T1c-FLAIR | CAM")[3:] == [
        "2",
        "0",
        "+25.0",
        NONE,
        NONE,
        "too few differ (n = 2)",
    ]
