"""Summary, table and files."""

import json
import math

import numpy as np
import pytest

from bundle.metrics import (
    EMPTY_POLICY,
    CaseRow,
    CaseScores,
    MaskRule,
    format_table,
    read_rows,
    summarise,
    write_rows,
    write_summary,
)

NAN = math.nan


def row(case: str, name: str, dice: float, **changes) -> CaseRow:
    values = {
        "assd_mm": 2.0,
        "under_ratio": 0.5,
        "over_ratio": 0.25,
        "dice_positive_slices": dice,
        "truth_ml": 10.0,
        "prediction_ml": 8.0,
        "empty_truth": False,
        "empty_prediction": False,
    }
    return CaseRow(case, name, dice, **{**values, **changes})


def scores(case: str, dice: float, **changes) -> CaseScores:
    """A case with one modality that gets half the Dice of the fused map; the curve falls by 0.1."""
    rows = (row(case, "flair", dice / 2, **changes), row(case, "fused", dice, **changes))
    curves = np.array([[dice / 2, dice / 2 - 0.1], [dice, dice - 0.1]])
    return CaseScores(case, rows, curves if not changes.get("empty_truth") else curves * NAN)


HEALTHY = {
    "assd_mm": NAN,
    "under_ratio": NAN,
    "over_ratio": NAN,
    "dice_positive_slices": NAN,
    "truth_ml": 0.0,
    "empty_truth": True,
}
CASES = [
    scores("a", 0.9, assd_mm=1.0, under_ratio=0.1),
    scores("b", 0.6, assd_mm=4.0, under_ratio=1.0),
    scores("c", 0.0, assd_mm=NAN, under_ratio=NAN, over_ratio=NAN, empty_prediction=True, prediction_ml=0.0),
    scores("d", 1.0, **HEALTHY, empty_prediction=True, prediction_ml=0.0),
    scores("e", 0.0, **HEALTHY, prediction_ml=6.0),
]
THRESHOLDS = (0.3, 0.5)


def test_dice_is_summarised_over_the_cases_with_a_lesion():
    fused = summarise(CASES, THRESHOLDS)["maps"]["fused"]
    assert (fused["n"], fused["n_with_truth"], fused["n_empty_prediction"]) == (5, 3, 1)
    # 0.9, 0.6, 0.0: mean 0.5, squared deviations 0.16 + 0.01 + 0.25 = 0.42, over n - 1 = 2
    assert fused["dice"] == pytest.approx({"mean": 0.5, "sd": math.sqrt(0.21), "median": 0.6, "n": 3})


def test_undefined_values_are_left_out_and_counted():
    fused = summarise(CASES, THRESHOLDS)["maps"]["fused"]
    # 1 and 4 mm: mean 2.5, SD sqrt(2 x 1.5^2 / 1)
    assert fused["assd_mm"] == pytest.approx({"mean": 2.5, "sd": math.sqrt(4.5), "median": 2.5, "n": 2})
    assert fused["under_ratio"]["median"] == pytest.approx(0.55)
    assert fused["over_ratio"]["n"] == 2


def test_healthy_cases_are_reported_apart():
    healthy = summarise(CASES, THRESHOLDS)["maps"]["fused"]["healthy"]
    assert (healthy["n"], healthy["n_called_empty"], healthy["share_called_empty"]) == (2, 1, 0.5)
    assert healthy["false_positive_ml"]["mean"] == pytest.approx(3.0)


def test_the_curve_is_the_mean_over_cases_with_a_lesion():
    curve = summarise(CASES, THRESHOLDS)["maps"]["fused"]["dice_curve"]
    assert curve["thresholds"] == [0.3, 0.5]
    assert curve["mean_dice"] == pytest.approx([0.5, 0.4])
    assert "no threshold" in curve["note"]


def test_one_case_has_no_standard_deviation():
    assert math.isnan(summarise(CASES[:1], THRESHOLDS)["maps"]["fused"]["dice"]["sd"])


def test_a_case_without_a_mask_changes_no_figure():
    unknown = scores("f", NAN, **{**HEALTHY, "empty_truth": None, "truth_ml": NAN})
    with_it = summarise([*CASES, unknown], THRESHOLDS)
    assert with_it["n_without_mask"] == 1
    assert with_it["maps"]["fused"]["dice"] == summarise(CASES, THRESHOLDS)["maps"]["fused"]["dice"]


def test_no_case_is_an_error():
    with pytest.raises(ValueError, match="no case was scored"):
        summarise([])


def test_a_case_with_other_maps_is_an_error():
    odd = CaseScores("z", CASES[0].rows[1:], CASES[0].curves[1:])
    with pytest.raises(ValueError, match="case z: expected the maps"):
        summarise([CASES[0], odd], THRESHOLDS)
    with pytest.raises(ValueError, match="case z: expected the maps"):
        summarise(
            [odd], THRESHOLDS, [*(row.map for row in odd.rows), "another"]
        )  # the last one is never missing


def test_a_case_that_lacks_a_branch_counts_in_no_mean_of_it():
    names = [row.map for row in CASES[0].rows]
    lacking = CaseScores("z", CASES[0].rows[1:], CASES[0].curves[1:])
    maps = summarise([lacking, *CASES], THRESHOLDS, names)["maps"]
    assert list(maps) == names
    assert maps[names[0]] == summarise(CASES, THRESHOLDS)["maps"][names[0]]
    assert maps["fused"]["n"] == len(CASES) + 1
    assert list(summarise([lacking], THRESHOLDS, names)["maps"]) == names[1:]


def test_the_table_gives_mean_dice_first_and_fused_last():
    lines = format_table(summarise(CASES, THRESHOLDS)).splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert table[0] == ["map", "Dice %", "SD", "median", "ASSD mm", "r_u", "r_o", "empty"]
    assert table[-1] == ["fused", "50.0", "45.8", "60.0", "2.50", "0.55", "0.25", "1/3"]
    assert len({len(line) for line in lines if line.startswith("|")}) == 1
    assert "1 of 2 healthy cases called empty, 3.0 ml" in lines[-1]


def test_rows_come_back_from_the_csv_as_they_were(tmp_path):
    rows = [entry for case in CASES for entry in case.rows]
    rows.append(row("#1, left", "fused", 1 / 3, empty_truth=None, truth_ml=NAN))
    write_rows(tmp_path / "metrics.csv", rows, MaskRule())
    # repr, as nan is not equal to itself
    assert [repr(entry) for entry in read_rows(tmp_path / "metrics.csv")] == [repr(entry) for entry in rows]


def test_the_csv_states_threshold_units_and_policy(tmp_path):
    write_rows(tmp_path / "metrics.csv", CASES[0].rows, MaskRule(0.35))
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    header = [line for line in lines if line.startswith("# ")]
    assert header[0] == "# Mask: cam > 0.35."
    assert {f"# {sentence}" for sentence in EMPTY_POLICY} <= set(header)
    assert lines[len(header)] == (
        "case,map,dice,assd_mm,under_ratio,over_ratio,dice_positive_slices,truth_ml,prediction_ml,"
        "empty_truth,empty_prediction"
    )


def test_a_rule_that_gives_each_map_its_own_threshold_is_named(tmp_path):
    rule = MaskRule("otsu", ("components below 100 mm3 removed",))
    write_rows(tmp_path / "metrics.csv", CASES[0].rows, rule)
    first = (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert first == "# Mask: cam > threshold of each map (otsu), components below 100 mm3 removed."
    summary = write_summary(tmp_path / "summary.json", CASES[:1], rule, THRESHOLDS)
    assert (summary["threshold"], summary["mask_steps"]) == ("otsu", ["components below 100 mm3 removed"])


def test_another_csv_is_an_error(tmp_path):
    (tmp_path / "tags.csv").write_text("case,slice,tag\n017,3,1\n")
    with pytest.raises(ValueError, match="expected the columns case, map"):
        read_rows(tmp_path / "tags.csv")


def test_the_summary_is_json_with_null_for_undefined(tmp_path):
    write_summary(tmp_path / "summary.json", CASES[:1], MaskRule(), THRESHOLDS)
    content = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert content["threshold"] == 0.5
    assert content["empty_policy"] == list(EMPTY_POLICY)
    assert content["maps"]["fused"]["dice"]["mean"] == 0.9
    assert content["maps"]["fused"]["dice"]["sd"] is None
