"""Which run, map and readout stands in which cell of the paper's tables."""

from __future__ import annotations

import pytest

from bundle.comparison import INDEPENDENT, PROPOSED, TABLES, Cell, Gain, RunSpec, lay_out
from tests.running import ROOT, merged

FOUR = ("t1", "t1c", "t2", "flair")
PROSTATE = ("t2", "adc")


def named(table, label, group="CAM", block=0):
    """The row of a label."""
    (row,) = [row for row in table.blocks[block].rows if (row.group, row.label) == (group, label)]
    return row


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("modalities", [FOUR, ("flair", "t1c"), PROSTATE, ("t1",)])
def test_every_row_has_a_cell_for_every_column(name, modalities):
    for block in lay_out(name, modalities).blocks:
        assert all(len(row.cells) == len(block.columns) for row in block.rows)


def test_table_1_has_the_papers_blocks_in_its_order():
    table = lay_out("table1", FOUR)
    assert [block.title for block in table.blocks] == ["T1-T2", "T1c-FLAIR", "T1-FLAIR", "T1c-T2"]
    assert [column.label for column in table.blocks[1].columns[::2]] == ["T1c", "FLAIR", "T1c-FLAIR"]
    assert [row.label for row in table.blocks[0].rows[:4]] == [
        "Baseline",
        "SEAM (scale)",
        "SEAM (all)",
        "Proposed",
    ]
    assert not table.left_out


def test_a_method_without_exchange_is_trained_once_for_all_pairs():
    specs = lay_out("table1", FOUR).specs
    assert [spec for spec in specs if spec.method == "cam"] == [RunSpec("cam", FOUR)]
    assert len([spec for spec in specs if spec.method == PROPOSED]) == 4


def test_a_pair_is_fused_from_the_shared_run_in_the_data_sets_order():
    cell = Cell(RunSpec("cam", ("flair", "t1c", "t1")), "cam", "flair-t1c", "dice")
    table = lay_out("table1", ("flair", "t1c", "t1"), ["t1c-flair"])
    assert named(table, "Baseline").cells[4] == cell
    assert named(table, "Proposed").cells[4] == Cell(
        RunSpec(PROPOSED, ("flair", "t1c")), "cam", "fused", "dice"
    )


def test_the_fused_map_of_all_modalities_is_called_fused():
    table = lay_out("table1", ("flair", "t1c"))
    assert named(table, "Baseline").cells[5] == Cell(
        RunSpec("cam", ("flair", "t1c")), "cam", "fused", "assd_mm"
    )


def test_gradcampp_reads_the_same_run_out():
    cell = named(lay_out("table2", FOUR), "SEAM (scale)", "GradCAM++").cells[0]
    assert cell == Cell(RunSpec("er_scale", FOUR), "gradcampp", "t1", "dice")


def test_what_the_data_set_lacks_is_left_out_and_said():
    table = lay_out("table1", ("flair", "t1c"))
    assert [block.title for block in table.blocks] == ["T1c-FLAIR"]
    assert table.left_out[0] == "T1-T2: the data set has no t1, t2"
    empty = lay_out("table2", ("flair", "t1c"))
    assert empty.blocks == ()
    assert empty.left_out == ("T1-T2-T1c-FLAIR: the data set has no t1, t2",)


def test_names_of_the_same_meaning_are_understood():
    table = lay_out("table1", ("t2f", "t1ce"))
    assert table.specs[0].modalities == ("t2f", "t1ce")
    assert table.blocks[0].columns[0].label == "T1c"
    assert named(table, "Baseline").cells[0].map == "t1ce"


def test_the_upper_bound_has_no_fused_figure():
    for name, modalities in (("table2", FOUR), ("table6", PROSTATE)):
        row = lay_out(name, modalities).blocks[0].rows[-1]
        assert row.group == "Upper bound"
        assert row.cells[-2:] == (None, None)
        assert row.cells[0].spec == RunSpec("supervised", modalities)


def test_table_3_trains_each_ablation_on_each_combination():
    table = lay_out("table3", FOUR)
    assert [column.label for column in table.blocks[0].columns[::2]] == [
        "T1-T2",
        "T1c-FLAIR",
        "T1-FLAIR",
        "T1c-T2",
        "All",
    ]
    assert len(table.specs) == 4 * 5
    assert named(table, "ER + CMER").cells[8] == Cell(RunSpec("er_cmer", FOUR), "cam", "fused", "dice")


def test_table_4_has_another_backbone():
    assert {spec.network for spec in lay_out("table4", FOUR).specs} == {"deeplabv3"}


def test_table_5_has_two_ratios_a_modality():
    block = lay_out("table5", FOUR).blocks[0]
    assert [(row.group, row.label) for row in block.rows[:2]] == [("T1", "r_u"), ("T1", "r_o")]
    assert [cell.metric for cell in block.rows[1].cells] == ["over_ratio"] * 3


def test_table_7_fuses_early_but_for_the_proposed():
    row = lay_out("table7", PROSTATE).blocks[0].rows[0]
    baseline = Cell(RunSpec("cam", PROSTATE, early_fusion=True), "cam", "early_fusion", "dice")
    proposed = Cell(RunSpec(PROPOSED, PROSTATE), "cam", "fused", "dice")
    assert (row.group, row.label) == ("Prostate", "T2-ADC")
    assert (row.cells[0], row.cells[6]) == (baseline, proposed)
    assert row.cells[8] == Gain(proposed, baseline)


def test_figure_5_has_two_curves_of_pairs_and_one_of_all_for_each_modality():
    rows = lay_out("figure5", FOUR).blocks[0].rows
    for column in range(4):
        labels = [row.label for row in rows if row.label.startswith("Proposed") and row.cells[column]]
        assert len(labels) == 3
        assert labels[-1] == "Proposed (all)"


def test_pairs_choose_combinations_in_any_order():
    table = lay_out("table3", FOUR, pairs=["flair-t1ce", "all"])
    assert [column.label for column in table.blocks[0].columns[::2]] == ["T1c-FLAIR", "All"]
    with pytest.raises(ValueError, match="pairs: expected combinations of the paper, found t2-flair"):
        lay_out("table3", FOUR, pairs=["t2-flair"])


def test_a_further_method_is_a_row_that_the_paper_has_not():
    rows = lay_out("table1", FOUR, also=["seam", "mine"]).blocks[0].rows
    assert [(row.label, row.in_paper) for row in rows[3:6]] == [
        ("Proposed", True),
        ("seam", False),
        ("mine", False),
    ]
    assert rows[4].cells[0].spec.modalities == FOUR
    assert rows[5].cells[0].spec.modalities == ("t1", "t2")  # nothing is known of its branches


def test_full_supervision_has_no_rows_of_gradcampp():
    rows = lay_out("table1", FOUR, also=["supervised"]).blocks[0].rows
    assert [row.group for row in rows if row.label == "supervised"] == ["CAM"]


@pytest.mark.parametrize("also", [(), ("supervised",)])
def test_table_7_ends_in_the_bound_of_early_fusion_which_the_paper_has_not(also):
    block = lay_out("table7", FOUR, also=also).blocks[0]
    assert [column.label for column in block.columns if not column.in_paper] == ["Upper bound"]
    assert block.columns[-1].label == "Upper bound"
    spec = RunSpec("supervised", ("t1", "t2"), early_fusion=True)
    assert block.rows[0].cells[-1] == Cell(spec, "cam", "early_fusion", "dice")


def test_two_modalities_of_one_meaning_are_refused_where_the_table_has_it():
    with pytest.raises(
        ValueError, match="expected one T1c in the data set, found t1gd and t1c; prepare it with one"
    ):
        lay_out("table1", ("t1", "t1gd", "t2", "t1c"))
    assert lay_out("table6", ("t1gd", "t1c", "t2", "adc")).blocks


def test_a_method_brings_its_note():
    def notes(name, *also):
        return " ".join(lay_out(name, (*FOUR, "adc"), also=also).notes)

    for name in ("table2", "table6", "table7"):
        assert "no augmentation, the last epoch, each slice seen once a step" in notes(name)
    assert "Full supervision" not in notes("table1")
    assert "refined map" in notes("table1", "seam")
    assert "refined map" not in notes("table1")


def test_the_methods_known_as_independent_are_those_without_a_term_between_branches():
    configs = {file.stem.removeprefix("method_") for file in (ROOT / "configs").glob("method_*.yaml")}
    found = set()
    for method in configs - {"paper"}:  # a recipe: it is what `PROPOSED` is at paper scale
        terms = merged("train", f"method_{method}").get("loss_terms")
        if terms["kd"] is None and terms["cmer"] is None:
            found.add(method)
    assert found == INDEPENDENT


def test_an_unknown_table_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean table3"):
        lay_out("tabel3", FOUR)
