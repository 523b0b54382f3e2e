"""Our own tables: what a step adds, which rows share a training, and what is a bound."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from bundle.comparison.beyond import (
    BEFORE,
    BOUNDS,
    STEPS,
    TERMS_LEFT,
    VARIANTS,
    default_spec,
    former_spec,
    lay_out_beyond,
    started_spec,
)
from bundle.comparison.cohort import Cohort
from bundle.comparison.merging import ids_of, merge
from bundle.comparison.plan import plan_runs
from bundle.comparison.runs import CHAIN, INTENSITY, MASK_SEGMENTER, READOUTS, Cell, Run, RunSpec
from bundle.comparison.scales import SCALES

FOUR = ("t1", "t1c", "t2", "flair")
SPLITS = {None: "splits.json"}
COHORT = Cohort(
    Path("D"), "phantom", FOUR, 64, SPLITS, {"train": 16, "validation": 4, "test": 16}, {None: "aa"}
)
TABLE = lay_out_beyond("beyond", FOUR, 16)


def cells(group: str) -> dict[str, Cell]:
    rows = [row for row in TABLE.blocks[0].rows if row.group == group]
    return {row.label: row.cells[0] for row in rows if isinstance(row.cells[0], Cell)}


def plan(spec: RunSpec, scale: str = "small", seeds: tuple[int, ...] = (0,)) -> list[Run]:
    return plan_runs([spec], COHORT, SCALES[scale], seeds)


def planned(spec: RunSpec, scale: str = "small") -> Run:
    (run,) = plan(spec, scale)
    return run


def differing(one: Run, other: Run) -> set[str]:
    names = one.config.keys() | other.config.keys()
    return {name for name in names if one.config.get(name) != other.config.get(name)}


def test_every_training_on_the_way_adds_one_part():
    trainings = list(dict.fromkeys(cell.spec for cell in cells(STEPS).values()))[2:-1]
    runs = [planned(spec) for spec in trainings]
    assert runs[-1].config == runs[-2].config == runs[-3].config  # the last two parts are of reading
    del runs[-2:]
    steps = [differing(one, other) for one, other in pairwise(runs)]
    added = [{"levels"}, {"pooling"}, {"cam_reader"}, {"epoch_slices"}, {"own_trust"}, {"intensity_start"}]
    assert steps == added


def test_with_all_parts_taken_away_the_default_is_er_and_cmer():
    spec = RunSpec("proposed", FOUR, base="default", options=BEFORE)
    undone, paper = planned(spec), planned(RunSpec("er_cmer", FOUR))
    # evaluation's ids stand in method_proposed, too, and kd is off by its weight instead of by null
    training = differing(undone, paper) & ids_of(["train"])
    assert training == {"epoch_slices", "cam_reader", "loss_terms"}
    assert (undone.config["epoch_slices"], paper.config["epoch_slices"]) == (0, None)  # both: all
    assert undone.config["cam_reader"] == {**paper.config["cam_reader"], "scale": "slice"}
    terms, before = undone.config["loss_terms"], paper.config["loss_terms"]
    assert (terms["kd"]["weight"], before["kd"]) == (0.0, None)
    weighing = [terms["cmer"]["loss"].pop(name) for name in ("by_skill", "own_trust")]
    assert weighing == ["$@trust_power > 0", "@own_trust"]  # off without trust
    assert {name: terms[name] for name in ("classification", "er", "cmer")} == {
        name: before[name] for name in ("classification", "er", "cmer")
    }


def test_read_as_before_the_masks_are_those_of_the_recipe():
    reading = planned(RunSpec("er_cmer", FOUR)).reading
    assert READOUTS["gated"].items() <= reading.items()


def test_the_last_step_but_the_chain_is_the_default_as_it_is_shipped():
    run = planned(default_spec(FOUR))
    assert run.overlays == ()
    shipped = merge("train", (), run.training)
    assert run.config == shipped
    assert {name: run.config[name] for name in ("width", "epochs", "epoch_slices")} == {
        name: merge("train", (), {})[name] for name in ("width", "epochs", "epoch_slices")
    }
    assert run.readouts["cam"] == {}


def test_rows_that_differ_in_reading_share_one_training():
    shared = [cell for group in (STEPS, VARIANTS) for cell in cells(group).values()]
    shared = [cell for cell in shared if cell.spec == former_spec(FOUR)]
    assert len({cell.readout for cell in shared}) == len(shared) == 5 + 7
    assert {cell.readout for cell in shared} == set(former_spec(FOUR).readouts)


def test_without_a_term_the_default_is_as_it_is_otherwise():
    default = planned(default_spec(FOUR))
    found = [differing(planned(cell.spec), default) for cell in cells(TERMS_LEFT).values()]
    assert found == [{"loss_terms"}] * 4


def test_a_variant_is_the_default_without_its_last_parts_but_for_its_options():
    former = planned(former_spec(FOUR))
    found = {
        label: differing(planned(cell.spec), former)
        for label, cell in cells(VARIANTS).items()
        if cell.spec != former_spec(FOUR)
    }
    assert found == {
        "With KD, teachers by skill": {"loss_terms"},
        "Averaged weights": {"ema_momentum"},
        "Jitter of intensities": {"augmentation"},
        "Without ER": {"loss_terms"},
        "Without CMER": {"loss_terms"},
        "Without ER and CMER": {"loss_terms"},
        "No pooling": {"levels"},
        "Two poolings": {"levels"},
        "Three poolings": {"levels"},
        "Pooling that sharpens": {"annealed", "initialize", "selection"},
    }


def test_an_option_that_decides_the_maps_holds_in_evaluation_too():
    spec = cells(VARIANTS)["Three poolings"].spec
    assert planned(spec).reading["levels"] == planned(spec).config["levels"] == 3
    assert planned(cells(VARIANTS)["Averaged weights"].spec).reading.get("ema_momentum") is None


def test_what_belongs_to_training_alone_is_not_merged_into_the_evaluation():
    run = planned(cells(VARIANTS)["Pooling that sharpens"].spec)
    assert "annealed" in run.config
    assert "annealed" not in run.reading
    assert run.reading_overlays == ()


def test_a_step_is_compared_with_the_row_before_and_a_variant_with_the_default():
    rows = TABLE.blocks[0].rows
    steps = [row for row in rows if row.group == STEPS]
    assert steps[0].against is None
    assert [row.against for row in steps[1:]] == [row.cells[0] for row in steps[:-1]]
    against = {
        group: {row.against for row in rows if row.group == group} for group in (TERMS_LEFT, VARIANTS, BOUNDS)
    }
    started = Cell(started_spec(FOUR), "cam", "fused", "dice")
    former = Cell(former_spec(FOUR), "cam", "fused", "dice")
    assert against == {TERMS_LEFT: {started}, VARIANTS: {former}, BOUNDS: {former}}


def test_the_bounds_are_the_same_networks_with_masks_and_thresholds_on_the_images():
    found = {cell.spec.method for cell in cells(BOUNDS).values()}
    assert found == {"supervised", MASK_SEGMENTER, INTENSITY}
    branches = planned(cells(BOUNDS)["Full supervision of the same branches"].spec)
    default = planned(default_spec(FOUR))
    assert branches.config["levels"] == default.config["levels"]
    assert branches.reading["refine"] == planned(former_spec(FOUR)).reading["refine"]


def test_the_last_two_parts_are_how_the_border_is_found():
    readings = [planned(cell.spec).reading for cell in list(cells(STEPS).values())[-4:-1]]
    for one, other in pairwise(readings):
        assert {name for name in other if one[name] != other[name]} == {"refine"}
    assert readings[-1]["refine"] == merge("evaluate", (), {})["refine"]
    parser = ConfigParser({"imports": ["$import bundle"], "walks": [each["refine"] for each in readings[:2]]})
    former, surer = parser.get_parsed_content("walks")
    assert (former.threshold.floor, former.peak, surer.threshold.floor, surer.peak) == (0.4, 0.5, 0.2, 0.8)
    assert (former.band_mm, former.beta, former.around_mm) == (surer.band_mm, surer.beta, surer.around_mm)


def test_the_segmenter_with_masks_is_the_chains_but_for_what_it_learns_from():
    masks, chain = merge("train_selftrain", ("method_selftrain_masks",), {}), merge("train_selftrain", (), {})
    assert {name for name in masks if masks[name] != chain[name]} == {"training_slices", "train"}
    own, others = masks["train"], chain["train"]
    assert {name for name in own if own[name] != others[name]} == {"dataset"}
    gone = {"labels_dir", "upper", "lower", "tag_share", "tag_seed"}
    assert own["dataset"] == {name: v for name, v in others["dataset"].items() if name not in gone}


def test_a_threshold_has_no_seed_and_a_chain_has():
    threshold, chain = RunSpec(INTENSITY, FOUR, options=(("rule", "otsu"),)), RunSpec(CHAIN, FOUR)
    assert [run.seed for run in plan(threshold, seeds=(0, 1))] == [0]
    assert [run.seed for run in plan(chain, seeds=(0, 1))] == [0, 1]


@pytest.mark.parametrize("method", [CHAIN, MASK_SEGMENTER, INTENSITY])
def test_every_kind_of_run_is_known_by_its_options_and_data(method):
    spec = RunSpec(method, FOUR, options=(("rule", "otsu"), ("training_cases", 4)))
    other = replace(spec, options=(("rule", "oracle"), ("training_cases", 8)))
    moved = plan_runs([spec], replace(COHORT, dataset_dir=Path("E")), SCALES["small"], [0])[0]
    others = plan_runs([spec], replace(COHORT, digests={None: "bb"}), SCALES["small"], [0])[0]
    assert planned(spec).identity == moved.identity
    assert len({planned(spec).identity, planned(other).identity, others.identity}) == 3


def test_both_stages_of_a_chain_learn_from_few_patients():
    run = planned(RunSpec(CHAIN, FOUR, options=(("training_cases", 4),)), "smoke")
    assert run.training["cam_training"]["training_cases"] == 4
    assert run.training["segmenter_training"]["training_cases"] == 4
    assert run.training["cam_options"] == run.training["segmenter_options"] == {"width": 2}


@pytest.mark.parametrize(
    ("training_cases", "rows"),
    [(32, ["4", "8", "16", "32"]), (40, ["4", "8", "16", "32"]), (10, ["4", "8", "10"])],
)
def test_few_patients_are_as_many_as_there_are(training_cases, rows):
    table = lay_out_beyond("few", FOUR, training_cases)
    assert [row.label for row in table.blocks[0].rows] == rows
    assert table.specs[0].options == (("training_cases", 4),)


def test_an_unknown_table_of_our_own_is_refused():
    with pytest.raises(ValueError, match="table: expected one of beyond, few, found table1"):
        lay_out_beyond("table1", FOUR, 16)
