"""Two tables of our own: from the paper's method to the default, one part a row, and few tagged patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bundle.comparison.intensity_baseline import RULES
from bundle.comparison.paper_cells import FULL_SUPERVISION
from bundle.comparison.runs import (
    CHAIN,
    INTENSITY,
    MASK_SEGMENTER,
    PROPOSED,
    Cell,
    RunSpec,
    random_walk,
)
from bundle.comparison.table_values import Block, Column, Row, Table
from bundle.metrics import FUSED

BEYOND = ("beyond", "few")
BASE = "default"  # key of `scales.RECIPES`
COLUMNS = (Column("", "dice"), Column("", "assd_mm"))
STEPS, TERMS_LEFT, VARIANTS, BOUNDS = (
    "One part added a row",
    "The terms in the CAM stage that starts from a threshold",
    "Variants of the CAM stage without that and what follows",
    "Bounds and baselines",
)
# What the default has beyond ER and CMER, in the order in which it is added, with what stood there before.
BEFORE: tuple[tuple[str, Any], ...] = (
    ("trust_power", 0.0),
    ("levels", 2),
    ("pooling#decay_per_mille", 0.987),
    ("cam_reader#scale", "slice"),
    ("epoch_slices", 0),
    ("own_trust", False),
    ("intensity_start", False),
    ("refine", random_walk()),
)
FORMER, STARTED = BEFORE[5:], BEFORE[7:]  # of what variants are compared with: without the last parts
WALKED = (("refine", random_walk("bundle.refinement.IntensityVarianceThreshold(floor=0.2)", peak=0.8)),)
READ_ALIKE = (  # label of a row, readout of one training
    ("Maps smoothed across slices", "smooth"),
    ("Random walk in a band", "walk"),
    ("Level of the map where the image divides", "cut"),
    ("Small components and holes", "cam"),
)
READ_OTHERWISE = (
    *((f"Level of the map: {name}", name) for name in ("otsu", "mixture", "variance")),
    ("Evidence averaged over a flip", "flip"),
    *((f"Fusion: {name}", name) for name in ("maximum", "mean", "weighted")),
)
Variants = tuple[tuple[str, str, tuple[tuple[str, Any], ...]], ...]  # row, label of the run, options
TERMS: Variants = (
    ("With KD, teachers by skill", "kd", (("loss_terms#kd#weight", 0.5),)),
    ("Without ER", "no_er", (("loss_terms#er", None),)),
    ("Without CMER", "no_cmer", (("loss_terms#cmer", None),)),
    ("Without ER and CMER", "no_er_cmer", (("loss_terms#er", None), ("loss_terms#cmer", None))),
)
TRAINED_OTHERWISE: Variants = (
    ("Averaged weights", "averaged", (("ema_momentum", 0.02),)),
    ("Jitter of intensities", "jitter", (("augmentation", "$bundle.data.IntensityJitter()"),)),
    ("No pooling", "levels0", (("levels", 0),)),
    ("Two poolings", "levels2", (("levels", 2),)),
    ("Three poolings", "levels3", (("levels", 3),)),
)
PATIENTS = (4, 8, 16, 32)


def lay_out_beyond(name: str, modalities: Sequence[str], training_cases: int) -> Table:
    """Lay one of our tables out for a data set.

    Args:
        name: ``beyond`` or ``few``.
        modalities: all of its modalities, in its order.
        training_cases: how many it has.

    Raises:
        ValueError: for another table.
    """
    if name not in BEYOND:
        raise ValueError(f"table: expected one of {', '.join(BEYOND)}, found {name}")
    names = tuple(modalities)
    return _beyond(names) if name == "beyond" else _few(names, training_cases)


def default_spec(modalities: Sequence[str]) -> RunSpec:
    """The default of the CAM stage."""
    return RunSpec(PROPOSED, tuple(modalities), base=BASE, readouts=("cam",))


def started_spec(modalities: Sequence[str]) -> RunSpec:
    """The same, whose maps are cut as before the last two parts."""
    return RunSpec(
        PROPOSED, tuple(modalities), base=BASE, options=STARTED, label="started", readouts=("cam",)
    )


def former_spec(modalities: Sequence[str]) -> RunSpec:
    """The CAM stage before it started from a threshold, read out in every way that the table shows."""
    readouts = ("cam", "plain", *(name for _, name in (*READ_ALIKE[:-1], *READ_OTHERWISE)))
    return RunSpec(PROPOSED, tuple(modalities), base=BASE, options=FORMER, label="former", readouts=readouts)


def _beyond(names: tuple[str, ...]) -> Table:
    steps = _steps(names)
    rows = [_row(STEPS, label, cell) for label, cell in steps]
    rows = [
        rows[0],
        *(
            Row(STEPS, row.label, row.cells, against=before[1])
            for row, before in zip(rows[1:], steps, strict=False)
        ),
    ]
    started, former = _cell(started_spec(names)), _cell(former_spec(names))
    terms = _trained(names, TERMS, STARTED, "started_")
    rows += [_row(TERMS_LEFT, label, cell, started) for label, cell in terms]
    rows += [_row(VARIANTS, label, cell, former) for label, cell in _variants(names)]
    rows += [_row(BOUNDS, label, cell, former) for label, cell in _bounds(names)]
    return Table(
        "beyond",
        "From the paper's method to the default",
        (Block("", COLUMNS, tuple(rows)),),
        kind="steps",
        notes=NOTES,
    )


def _steps(names: tuple[str, ...]) -> list[tuple[str, Cell]]:
    """The rows from the paper's method to the default chain."""

    def at(step: int, label: str) -> RunSpec:
        """The default but for what the steps after this one add."""
        readout = "gated" if step < 4 else "plain" if step < 5 else "cam"
        return RunSpec(PROPOSED, names, base=BASE, options=BEFORE[step:], label=label, readouts=(readout,))

    former = former_spec(names)
    return [
        ("ER, KD and CMER", _cell(RunSpec(PROPOSED, names))),
        ("Without KD", _cell(RunSpec("er_cmer", names))),
        ("Teachers by skill", _cell(at(1, "skill"), "gated")),
        ("One pooling", _cell(at(2, "levels1"), "gated")),
        ("Sharper rank pooling", _cell(at(3, "sharper"), "gated")),
        ("Maps as probabilities, no gate, product of branches", _cell(at(4, "maps"), "plain")),
        ("As many slices an epoch whatever the data", _cell(former, "plain")),
        *((label, _cell(former, readout)) for label, readout in READ_ALIKE),
        ("A student's own skill counts", _cell(at(6, "own_trust"))),
        ("Start from a threshold", _cell(started_spec(names))),
        (
            "A lower floor for the level, sure components alone",
            _cell(RunSpec(PROPOSED, names, base=BASE, options=WALKED, label="walked", readouts=("cam",))),
        ),
        (
            "A Markov field instead of level and walk: default of the CAM stage",
            _cell(default_spec(names)),
        ),
        ("Self-training: the default chain", _cell(RunSpec(CHAIN, names))),
    ]


def _trained(
    names: tuple[str, ...], variants: Variants, others: tuple[tuple[str, Any], ...] = (), prefix: str = ""
) -> list[tuple[str, Cell]]:
    """The default with one part otherwise, and `others` throughout."""
    return [
        (
            row,
            _cell(
                RunSpec(
                    PROPOSED,
                    names,
                    base=BASE,
                    options=(*others, *options),
                    label=prefix + label,
                    readouts=("cam",),
                )
            ),
        )
        for row, label, options in variants
    ]


def _variants(names: tuple[str, ...]) -> list[tuple[str, Cell]]:
    """The CAM stage before it started from a threshold, with one part otherwise."""
    trained = _trained(names, (*TERMS, *TRAINED_OTHERWISE), FORMER, "former_")
    annealed = RunSpec(
        "annealed_pooling", names, base=BASE, options=FORMER, label="former", readouts=("cam",)
    )
    trained.append(("Pooling that sharpens", _cell(annealed)))
    return trained + [(label, _cell(former_spec(names), readout)) for label, readout in READ_OTHERWISE]


def _bounds(names: tuple[str, ...]) -> list[tuple[str, Cell]]:
    """What masks would give, and what needs no training."""
    branches = RunSpec(
        FULL_SUPERVISION, names, base=BASE, options=FORMER, label="former", readouts=("cam", "plain")
    )
    segmenter = RunSpec(MASK_SEGMENTER, names, readouts=("cam", "plain"))
    thresholds = [
        (
            f"Intensity threshold: {rule}",
            _cell(RunSpec(INTENSITY, names, options=(("rule", rule),), label=rule)),
        )
        for rule in RULES
    ]
    return [
        ("Full supervision of the same branches", _cell(branches)),
        ("Full supervision of the same branches, masks as they are", _cell(branches, "plain")),
        ("Full supervision of the chain's segmenter", _cell(segmenter)),
        ("Full supervision of the chain's segmenter, masks as they are", _cell(segmenter, "plain")),
        *thresholds,
    ]


def _few(names: tuple[str, ...], training_cases: int) -> Table:
    """As many tagged patients as a row says; full supervision has the masks of the same ones."""
    numbers = [number for number in PATIENTS if number < training_cases]
    if not numbers or numbers[-1] < PATIENTS[-1]:
        numbers.append(min(training_cases, PATIENTS[-1]))
    rows = []
    for number in numbers:
        few: dict[str, Any] = {"options": (("training_cases", number),), "label": f"few{number}"}
        chain = RunSpec(CHAIN, names, **few)
        masks = RunSpec(MASK_SEGMENTER, names, **few, readouts=("cam", "plain"))
        cells = (_cell(chain, "cam_stage"), _cell(chain), _cell(masks), _cell(masks, "plain"))
        rows.append(Row("", str(number), cells))
    columns = (
        Column("CAM stage", "dice"),
        Column("Default chain", "dice"),
        Column("Its segmenter with masks", "dice"),
        Column("The same, as it is", "dice"),
    )
    title = "Few tagged patients, and the share of full supervision that they reach"
    return Table("few", title, (Block("", columns, tuple(rows)),), kind="shares", notes=FEW_NOTES)


def _row(group: str, label: str, cell: Cell, against: Cell | None = None) -> Row:
    distance = Cell(cell.spec, cell.readout, cell.map, "assd_mm")
    return Row(group, label, (cell, distance), against=against)


def _cell(spec: RunSpec, readout: str = "cam") -> Cell:
    return Cell(spec, readout, FUSED, "dice")


NOTES = (
    "Difference: mean of the patients' Dice less that of the row before; among terms less that of the row "
    "`Start from a threshold`, among variants, bounds and baselines less that of the row `Small components and holes`. "
    "Wilcoxon's signed-rank test over patients, two-sided, corrected by Holm within a group.",
    "Rows with the same training differ in how its maps are read. Minutes are wall time of a training, all stages of "
    "the chain together, and show what else ran on the machine.",
    "Full supervision and the intensity rule `oracle` read masks, of training or of test cases, and are bounds; the "
    "rule `otsu` reads the test cases' tags.",
    "Healthy: mean volume of the mask in patients without a lesion.",
)
FEW_NOTES = (
    "Patients: tagged ones that the training learns from, the first of the split; the validation cases' tags come on "
    "top.",
    "Share: Dice of the default chain as a share of that of its segmenter with the masks of the same patients, read as "
    "the chain's or as it is, whichever is better.",
)
