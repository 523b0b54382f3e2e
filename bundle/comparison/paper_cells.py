"""The methods and combinations that Patel and Dolz (2022) compare, and the cells made of them."""

from __future__ import annotations

from collections.abc import Sequence

from bundle.comparison.runs import PROPOSED, Cell, RunSpec
from bundle.data.modality_names import meaning
from bundle.data.names import nearest_name
from bundle.metrics import FUSED

# Methods whose branches share nothing. Branch by branch they give the same whatever is trained beside them, so one run
# on all modalities serves every combination: a pair's fused map is made of two of its maps.
INDEPENDENT = frozenset(
    {"cam", "er", "er_scale", "er_flip", "er_rotate", "er_translate", "augmentation", "seam", "supervised"}
)
FULL_SUPERVISION = "supervised"
# Methods whose map is what the network says of each pixel: nothing of it is read out, so GradCAM++ has none of theirs.
ONE_READOUT = frozenset({FULL_SUPERVISION})
LITERATURE = (("Baseline", "cam"), ("SEAM (scale)", "er_scale"), ("SEAM (all)", "er"), ("Proposed", PROPOSED))
LOSSES = (("KD", "kd"), ("KD + ER", "kd_er"), ("ER + CMER", "er_cmer"), ("KD + ER + CMER", PROPOSED))
TRANSFORMS = (
    ("None", "cam"),
    ("Flip", "er_flip"),
    ("Rotate", "er_rotate"),
    ("Scale", "er_scale"),
    ("Translate", "er_translate"),
    ("All", "er"),
)
GROUPS = (("CAM", "cam"), ("GradCAM++", "gradcampp"))
UPPER_BOUND = "Upper bound"
EARLY_FUSION = "early_fusion"
BRAIN = ("t1", "t2", "t1c", "flair")  # in the order of Table 2
PAIRS = (("t1", "t2"), ("t1c", "flair"), ("t1", "flair"), ("t1c", "t2"))
PROSTATE = ("t2", "adc")
LABELS = {"t1": "T1", "t1c": "T1c", "t2": "T2", "flair": "FLAIR", "adc": "ADC"}


class PaperCells:
    """The cells that a table may hold on one data set.

    Args:
        modalities: names of the data set, in its order; names of the same meaning (``t1ce``) are understood.
        pairs: which combinations of the paper to keep, such as ``t1c-flair`` or ``all``; ``None`` keeps each.
        also: further methods, a row each.
        expected: the paper's modalities of this table.

    Raises:
        ValueError: if two modalities have the same meaning, or a combination is not the paper's.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        pairs: Sequence[str] | None,
        also: Sequence[str],
        expected: Sequence[str],
    ) -> None:
        self.own: dict[str, str] = {}
        for name in modalities:
            if meaning(name) not in expected:
                continue
            other = self.own.setdefault(meaning(name), name)
            if other != name:
                raise ValueError(
                    f"modalities: expected one {LABELS[meaning(name)]} in the data set, found {other} and {name}; "
                    "prepare it with one of them (scripts.prepare_data --modalities)"
                )
        self.modalities = tuple(self.own.values())  # in the order of the data set
        self.expected, self.also = tuple(expected), tuple(also)
        self.asked = None if pairs is None else {_ordered(pair) for pair in pairs}
        self.left_out: list[str] = []

    @property
    def shown(self) -> list[str]:
        """The paper's names of those modalities that the data set has, in the paper's order."""
        return [name for name in self.expected if name in self.own]

    def combinations(self, wanted: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
        """Those of the wanted combinations that are asked for and possible; the impossible are noted.

        Where a table is about one combination, nothing is left to ask for.
        """
        possible = []
        for names in wanted:
            if self.asked is not None and len(wanted) > 1 and tuple(sorted(names)) not in self.asked:
                continue
            missing = [name for name in names if name not in self.own]
            if missing:
                self.left_out.append(f"{combination_label(names)}: the data set has no {', '.join(missing)}")
            else:
                possible.append(tuple(names))
        return possible

    def cell(
        self,
        method: str,
        readout: str,
        of: Sequence[str],
        together: Sequence[str],
        *,
        metric: str = "dice",
        network: str = "",
        early_fusion: bool = False,
    ) -> Cell:
        """The cell of a method.

        Args:
            method: see `RunSpec`.
            readout: see `Cell`.
            of: the modality whose map is meant, or those whose maps are fused; the paper's names.
            together: the modalities that a method with exchange is trained on.
            metric: see `Cell`.
            network: see `RunSpec`.
            early_fusion: see `RunSpec`.
        """
        wanted = {self.own[name] for name in of}
        chosen = tuple(name for name in self.modalities if name in wanted)
        if early_fusion:
            return Cell(RunSpec(method, chosen, network, early_fusion=True), readout, EARLY_FUSION, metric)
        partners = {self.own[name] for name in together}
        trained = (
            self.modalities
            if method in INDEPENDENT
            else tuple(name for name in self.modalities if name in partners)
        )
        map_name = FUSED if chosen == trained and len(chosen) > 1 else "-".join(chosen)
        return Cell(RunSpec(method, trained, network), readout, map_name, metric)

    def methods(self, paper: Sequence[tuple[str, str]]) -> list[tuple[str, str, bool]]:
        """Label, method, and whether it is the paper's: its own rows and then the further ones."""
        known = {method for _, method in paper}
        return [
            *((label, method, True) for label, method in paper),
            *((method, method, False) for method in self.also if method not in known),
        ]


def is_read_out(method: str, readout: str) -> bool:
    """Whether a method has maps of a readout."""
    return readout == GROUPS[0][1] or method not in ONE_READOUT


def is_rival(cell: Cell) -> bool:
    """Whether a cell is compared with others: full supervision learns from masks and is a bound, not a rival."""
    return cell.spec.method != FULL_SUPERVISION


def combination_label(names: Sequence[str]) -> str:
    """How the paper writes some modalities: ``T1c-FLAIR``."""
    return "-".join(LABELS[name] for name in names)


def _ordered(pair: str) -> tuple[str, ...]:
    names = BRAIN if pair.lower() == "all" else tuple(meaning(name) for name in pair.split("-"))
    known = {tuple(sorted(names)) for names in (*PAIRS, BRAIN, PROSTATE)}
    if tuple(sorted(names)) not in known:
        offered = ["all", *("-".join(names) for names in (*PAIRS, PROSTATE))]
        raise ValueError(
            f"pairs: expected combinations of the paper, found {pair}; {nearest_name(pair, offered)}"
        )
    return tuple(sorted(names))
