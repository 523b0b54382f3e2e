"""The tables and figures of Patel and Dolz (2022), laid out for the modalities that a data set has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bundle.comparison.paper_cells import (
    BRAIN,
    FULL_SUPERVISION,
    GROUPS,
    INDEPENDENT,
    LABELS,
    LITERATURE,
    LOSSES,
    PAIRS,
    PROSTATE,
    TRANSFORMS,
    UPPER_BOUND,
    PaperCells,
    combination_label,
    is_read_out,
)
from bundle.comparison.runs import PROPOSED
from bundle.comparison.table_values import Block, Column, Gain, Row, Table
from bundle.data.names import nearest_name

BOTH = ("dice", "assd_mm")
EVERY = (*BRAIN, "adc")
# What a column shows: the modality, or those whose maps are fused; and what a method with exchange is trained on.
Shown = tuple[Sequence[str], Sequence[str]]


def lay_out(
    name: str, modalities: Sequence[str], pairs: Sequence[str] | None = None, also: Sequence[str] = ()
) -> Table:
    """Lay a table or figure of the paper out for a data set.

    Args:
        name: ``table1`` … ``table7``, ``figure4`` … ``figure8``.
        modalities: names of the data set, in its order; other names of the paper's (``t1ce``) are understood.
        pairs: which of the paper's combinations to keep, such as ``t1c-flair``, in any order, or ``all`` four; ``None``
            keeps each.
        also: methods that the paper does not have; each becomes a row (a column where methods are columns).

    Returns:
        The table; without blocks if the data set has too few modalities, which ``left_out`` then says.

    Raises:
        ValueError: for an unknown table or combination, or two modalities of the same meaning.
    """
    if name not in TABLES:
        raise ValueError(f"table: expected one of the paper's, found {name}; {nearest_name(name, TABLES)}")
    title, kind, expected, build, notes = TABLES[name]
    paper = PaperCells(modalities, pairs, also, expected)
    blocks = tuple(block for block in build(paper) if block.columns and block.rows)
    table = Table(name, title, blocks, kind, notes, tuple(dict.fromkeys(paper.left_out)))
    shown = {spec.method for spec in table.specs}
    return replace(table, notes=(*notes, *(note for method, note in METHOD_NOTES.items() if method in shown)))


def _rows(
    paper: PaperCells,
    methods: Sequence[tuple[str, str]],
    shown: Sequence[Shown],
    metrics: Sequence[str] = BOTH,
    groups: Sequence[tuple[str, str]] = GROUPS,
    network: str = "",
) -> tuple[Row, ...]:
    """A row a readout and method, a column for each of what is shown and each metric."""
    return tuple(
        Row(
            group,
            label,
            tuple(
                paper.cell(method, readout, of, together, metric=metric, network=network)
                for of, together in shown
                for metric in metrics
            ),
            in_paper,
        )
        for group, readout in groups
        for label, method, in_paper in paper.methods(methods)
        if is_read_out(method, readout)
    )


def _columns(labels: Sequence[str], metrics: Sequence[str] = BOTH) -> tuple[Column, ...]:
    return tuple(Column(label, metric) for label in labels for metric in metrics)


def _singles_and_fused(names: Sequence[str]) -> list[Shown]:
    return [*(((name,), names) for name in names), (names, names)]


def _table1(paper: PaperCells) -> list[Block]:
    blocks = []
    for pair in paper.combinations(PAIRS):
        columns = _columns([*(LABELS[name] for name in pair), combination_label(pair)])
        rows = _rows(paper, LITERATURE, _singles_and_fused(pair))
        blocks.append(Block(combination_label(pair), columns, rows))
    return blocks


def _table2(paper: PaperCells) -> list[Block]:
    return _with_upper_bound(paper, BRAIN)


def _table6(paper: PaperCells) -> list[Block]:
    return _with_upper_bound(paper, PROSTATE)


def _with_upper_bound(paper: PaperCells, names: Sequence[str]) -> list[Block]:
    blocks = []
    for chosen in paper.combinations([names]):
        bound = [
            paper.cell(FULL_SUPERVISION, "cam", (name,), chosen, metric=metric)
            for name in chosen
            for metric in BOTH
        ]
        last = Row(UPPER_BOUND, "Full supervision", (*bound, None, None))
        columns = _columns([*(LABELS[name] for name in chosen), "Fused"])
        blocks.append(Block("", columns, (*_rows(paper, LITERATURE, _singles_and_fused(chosen)), last)))
    return blocks


def _table3(paper: PaperCells) -> list[Block]:
    chosen = paper.combinations((*PAIRS, BRAIN))
    columns = _columns(["All" if names == BRAIN else combination_label(names) for names in chosen])
    rows = _rows(paper, LOSSES, [(names, names) for names in chosen])
    return [Block("", columns, rows, ticks=("KD", "ER", "CMER"))]


def _table4(paper: PaperCells) -> list[Block]:
    chosen = paper.combinations(PAIRS)
    columns = _columns([combination_label(names) for names in chosen], ("dice",))
    shown = [(names, names) for names in chosen]
    return [Block("", columns, _rows(paper, LITERATURE, shown, ("dice",), network="deeplabv3"))]


def _table5(paper: PaperCells) -> list[Block]:
    methods = paper.methods(LITERATURE[1:])
    rows = tuple(
        Row(
            LABELS[name],
            label,
            tuple(paper.cell(method, "cam", (name,), paper.shown, metric=metric) for _, method, _ in methods),
        )
        for name in paper.shown
        for label, metric in (("r_u", "under_ratio"), ("r_o", "over_ratio"))
    )
    columns = tuple(Column(label, in_paper=in_paper) for label, _, in_paper in methods)
    return [Block("", columns, rows, best="row")]


def _table7(paper: PaperCells) -> list[Block]:
    """The paper's columns, then full supervision as the bound of early fusion, which the paper has not."""
    methods = [found for found in paper.methods(LITERATURE) if found[1] != FULL_SUPERVISION]
    rows = []
    for names in paper.combinations((*PAIRS, BRAIN, PROSTATE)):
        cells = {
            (method, readout): paper.cell(method, readout, names, names, early_fusion=method in INDEPENDENT)
            for _, method, _ in methods
            for _, readout in GROUPS
            if is_read_out(method, readout)
        }
        gains = (Gain(cells[PROPOSED, readout], cells["cam", readout]) for _, readout in GROUPS)
        bound = paper.cell(FULL_SUPERVISION, "cam", names, names, early_fusion=True)
        anatomy = "Prostate" if names == PROSTATE else "Brain"
        rows.append(Row(anatomy, combination_label(names), (*cells.values(), *gains, bound)))
    columns = [
        Column(f"{label} {group}", "dice", in_paper)
        for label, method, in_paper in methods
        for group, readout in GROUPS
        if is_read_out(method, readout)
    ]
    columns += [Column(f"Gain {group}", "dice") for group, _ in GROUPS]
    columns.append(Column(UPPER_BOUND, "dice", in_paper=False))
    return [Block("", tuple(columns), tuple(rows), best="row")]


def _figure4(paper: PaperCells) -> list[Block]:
    return _by_modality(paper, TRANSFORMS)


def _figure5(paper: PaperCells) -> list[Block]:
    """The curves of the methods, and two for the recipe in two modalities beside one in all."""
    if not paper.shown:
        return []
    singles = [((name,), paper.shown) for name in paper.shown]
    rows = list(_rows(paper, LITERATURE[:-1], singles, ("dice",), GROUPS[:1]))
    for names in paper.combinations((*PAIRS, BRAIN, PROSTATE)):
        cells = (
            paper.cell(PROPOSED, "cam", (name,), names) if name in names else None for name in paper.shown
        )
        which = "all" if names == BRAIN else combination_label(names)
        rows.append(Row(GROUPS[0][0], f"Proposed ({which})", tuple(cells)))
    return [Block("", _columns([LABELS[name] for name in paper.shown], ("dice",)), tuple(rows))]


def _figure6(paper: PaperCells) -> list[Block]:
    return _by_modality(paper, LITERATURE, fused=True)


def _figure7(paper: PaperCells) -> list[Block]:
    return _by_modality(paper, (("Augmentation", "augmentation"), ("Proposed", PROPOSED)), fused=True)


def _figure8(paper: PaperCells) -> list[Block]:
    return _by_modality(paper, LITERATURE, fused=True) if paper.combinations([PROSTATE]) else []


def _by_modality(paper: PaperCells, methods: Sequence[tuple[str, str]], fused: bool = False) -> list[Block]:
    """Methods as rows; every modality, and on request the fused map, as columns."""
    names = paper.shown
    fused = fused and len(names) > 1
    shown: list[Shown] = _singles_and_fused(names) if fused else [((name,), names) for name in names]
    labels = [*(LABELS[name] for name in names), *(["Fused"] if fused else [])]
    return [Block("", _columns(labels, ("dice",)), _rows(paper, methods, shown, ("dice",), GROUPS[:1]))]


# What holds wherever a method stands.
METHOD_NOTES = {
    FULL_SUPERVISION: "Full supervision: no augmentation, the last epoch, each slice seen once a step; it learns from "
    "masks, so it is neither set in bold nor tested against Proposed.",
    "seam": "seam: under CAM stands the refined map, under GradCAM++ the unrefined one. At 64 pixels its zoom of 0.3 "
    "leaves 19.",
}
_RATIOS = (
    "Ratios are medians over patients, since a map that hits a few voxels has a ratio in the thousands; the paper "
    "does not say how it sums patients up. Both are infinite where a map hits nothing, but FP/TP of an empty mask is "
    "undefined.",
    "Proposed is trained on all modalities shown together; the paper does not say on how many.",
)
_EARLY = (
    "Methods without exchange between branches see the modalities as channels of one network; Proposed has a branch "
    "each. Gain: Proposed above Baseline, in points.",
)
_CURVES = (
    "Picture: lines are means over seeds, shades their range; masks are scored, nothing is chosen by them.",
)
_BARS = ("Picture: bars are means, dots the seeds.",)
# Title, kind (see `Table`), modalities it is about, builder, notes.
TABLES: dict[str, tuple[str, str, tuple[str, ...], Callable[[PaperCells], list[Block]], tuple[str, ...]]] = {
    "table1": ("Two modalities, compared with prior literature", "table", BRAIN, _table1, ()),
    "table2": ("Four modalities, compared with prior literature", "table", BRAIN, _table2, ()),
    "table3": ("Ablation of the losses, fused maps", "table", BRAIN, _table3, ()),
    "table4": ("DeepLabv3 as backbone, fused maps", "table", BRAIN, _table4, ()),
    "table5": ("Source of improvement: ratios FN/TP and FP/TP", "ratios", EVERY, _table5, _RATIOS),
    "table6": ("Prostate, T2 and ADC", "table", PROSTATE, _table6, ()),
    "table7": ("Early fusion of the modalities", "table", EVERY, _table7, _EARLY),
    "figure4": ("Dice of each transform", "bars", EVERY, _figure4, _BARS),
    "figure5": ("Dice over the threshold", "curves", EVERY, _figure5, _CURVES),
    "figure6": ("Masks of the methods", "panels", EVERY, _figure6, ()),
    "figure7": ("Augmentation instead of equivariance", "panels", EVERY, _figure7, ()),
    "figure8": ("Masks of the methods in the prostate", "panels", PROSTATE, _figure8, ()),
}
