"""The published figures are those of the paper's text, and the slip in Table 3 is marked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from bundle.comparison import Gain, lay_out
from bundle.comparison.published import SOURCE, protocol, published_figure

PAPER = Path(__file__).resolve().parents[2].parent / "shared" / "papers" / "wss_cmer_published.txt"
FOUR = ("t1", "t1c", "t2", "flair")
NUMBERS = [6 * 32 * 2, 2 * (8 * 10 + 8), 2 * 8 * 10, 2 * 8 * 4, 8 * 3, 2 * (8 * 6 + 4), 6 * (2 * 8 + 2)]


def in_file(table: int) -> list[float]:
    """Every number of a table, row by row."""
    values = []
    for block in yaml.safe_load(SOURCE.read_text(encoding="utf-8"))["tables"][f"table{table}"].values():
        for rows in block["rows"].values():
            for row in rows.values():
                for value in row:
                    values += value if isinstance(value, list) else [] if value is None else [value]
    return values


def in_text(table: int) -> list[float]:
    """Every number of a table in the paper's text: the lines with three decimals or more after its caption."""
    lines = PAPER.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"Table {table}. "))
    following = (i for i, line in enumerate(lines) if line.startswith(f"Table {table + 1}. "))
    found = [re.findall(r"\d+\.\d+", line) for line in lines[start : next(following, len(lines))]]
    return [float(number) for line in found if len(line) >= 3 for number in line]


@pytest.mark.parametrize("table", range(1, 8))
def test_every_figure_is_the_papers(table):
    if not PAPER.is_file():
        pytest.skip("the paper's text is not beside the repository (../shared/papers/wss_cmer_published.txt)")
    assert in_file(table) == in_text(table)


@pytest.mark.parametrize("table", range(1, 8))
def test_no_figure_is_missing(table):
    assert len(in_file(table)) == NUMBERS[table - 1]


@pytest.mark.parametrize(
    ("name", "modalities"),
    [*((f"table{i}", FOUR) for i in range(1, 6)), ("table6", ("t2", "adc")), ("table7", (*FOUR, "adc"))],
)
def test_every_figure_stands_in_a_cell_of_the_layout(name, modalities):
    table = lay_out(name, modalities)
    found = 0
    for block in table.blocks:
        for row in block.rows:
            for column, cell in zip(block.columns, row.cells, strict=True):
                if not column.in_paper:
                    continue
                key = (name, block.title, row.group, row.label, column.label, column.metric)
                assert (published_figure(*key) is None) == (cell is None), key
                found += 0 if cell is None else 2 - (isinstance(cell, Gain) or name == "table5")
    assert found == NUMBERS[int(name[-1]) - 1]


@pytest.mark.parametrize("group", ["CAM", "GradCAM++"])
def test_the_repeated_column_of_table_3_is_marked_wherever_it_repeats(group):
    for row in ("KD", "KD + ER", "ER + CMER", "KD + ER + CMER"):
        for metric in ("dice", "assd_mm"):
            source = published_figure("table3", "", group, row, "T1c-FLAIR", metric)
            figure = published_figure("table3", "", group, row, "T1c-T2", metric)
            repeats = (figure.mean, figure.sd) == (source.mean, source.sd)
            assert repeats == (row != "KD + ER + CMER")
            assert figure.note == ("the paper repeats its T1c-FLAIR column here" if repeats else "")
            assert not source.note


def test_gains_are_the_differences_of_their_columns():
    for row, group in (("T1-T2", "Brain"), ("T2-ADC", "Prostate")):
        figures = [
            published_figure("table7", "", group, row, f"{label} CAM", "dice").mean
            for label in ("Proposed", "Baseline", "Gain")
        ]
        assert figures[0] - figures[1] == pytest.approx(figures[2])


def test_the_protocol_tells_the_text_from_the_code():
    brain, prostate = protocol("brain"), protocol("prostate")
    assert str(brain["weight_decay"]) == "0.1 (published code: 0.5)"
    assert str(brain["split"]) == "271 training, 32 validation, 32 test"
    assert str(prostate["epochs"]) == "not stated (published code: 100)"
    assert (brain["epochs"].value, brain["slice_size"].value, prostate["width"].value) == ("30", "240", "16")
    with pytest.raises(ValueError, match="did you mean prostate"):
        protocol("prostata")
