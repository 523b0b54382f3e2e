"""The figures that Patel and Dolz (2022) publish, and how they were made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bundle.data.names import nearest_name

SOURCE = Path(__file__).with_name("published.yaml")
ANATOMIES = ("brain", "prostate")


@dataclass(frozen=True)
class PublishedFigure:
    """A figure as printed.

    Args:
        mean: in the table's unit: Dice in %, ASSD in voxels, ratios as they are.
        sd: over patients; ``None`` if the table has none.
        repeated_of: the column whose figure it repeats, by an evident slip of the paper; blank if it does not.
    """

    mean: float
    sd: float | None = None
    repeated_of: str = ""

    @property
    def note(self) -> str:
        """Why the figure must not be cited; blank if it may."""
        return f"the paper repeats its {self.repeated_of} column here" if self.repeated_of else ""


@dataclass(frozen=True)
class ProtocolFact:
    """One thing the authors did.

    Args:
        item: its name, such as ``epochs``.
        text: the article's word; ``None`` if it says nothing.
        code: that of the published code, likewise.
    """

    item: str
    text: str | None
    code: str | None

    @property
    def value(self) -> str | None:
        """The article's word, else that of the code."""
        return self.code if self.text is None else self.text

    def __str__(self) -> str:
        if self.text is None:
            return f"not stated (published code: {self.code})"
        return self.text if self.code in (None, self.text) else f"{self.text} (published code: {self.code})"


@cache
def _read() -> dict[str, Any]:
    return yaml.safe_load(SOURCE.read_text(encoding="utf-8"))


@cache
def _figures() -> dict[tuple[str, ...], PublishedFigure]:
    """All figures under (table, block, group, row, column, metric)."""
    repeats = {
        (entry["table"], entry["column"], row): entry["of"]
        for entry in _read()["repeated"]
        for row in entry["rows"]
    }
    found: dict[tuple[str, ...], PublishedFigure] = {}
    for table, blocks in _read()["tables"].items():
        for title, block in blocks.items():
            heads = [(column, metric) for column in block["columns"] for metric in block["metrics"]]
            for group, rows in block["rows"].items():
                for label, values in rows.items():
                    for (column, metric), value in zip(heads, values, strict=True):
                        if value is None:
                            continue
                        mean, sd = value if isinstance(value, list) else (value, None)
                        repeated = repeats.get((table, column, label), "")
                        key = (table, title, group, label, column, metric)
                        found[key] = PublishedFigure(mean, sd, repeated)
    return found


def published_figure(
    table: str, block: str, group: str, row: str, column: str, metric: str
) -> PublishedFigure | None:
    """The paper's figure of a cell, addressed as `Table` does; ``None`` if the paper has none there.

    Args:
        table: name, such as ``table3``.
        block: title; blank for the only one.
        group: of the row.
        row: its label.
        column: its label.
        metric: of the column; blank where the rows say it (Table 5).

    >>> published_figure("table2", "", "CAM", "Proposed", "Fused", "dice").mean
    56.81
    """
    return _figures().get((table, block, group, row, column, metric))


def protocol(anatomy: str) -> dict[str, ProtocolFact]:
    """What the authors did, by item.

    Args:
        anatomy: ``brain`` or ``prostate``.

    Raises:
        ValueError: for another anatomy.

    >>> str(protocol("brain")["epochs"])
    'not stated (published code: 30)'
    """
    if anatomy not in ANATOMIES:
        raise ValueError(
            f"anatomy: expected brain or prostate, found {anatomy}; {nearest_name(anatomy, ANATOMIES)}"
        )
    facts = {**_read()["protocol"][anatomy], **_read()["protocol"]["both"]}
    return {
        item: ProtocolFact(item, *(None if fact[by] is None else str(fact[by]) for by in ("text", "code")))
        for item, fact in facts.items()
    }
