"""Whose scan a case is: splits keep the scans of one patient together."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bundle.data.names import nearest_name

PatientOf = Callable[[str], str]
COLUMNS = ("case", "patient")


def patient_of(case: str) -> str:
    """The patient of a case: BraTS 2023 numbers the scans of one patient, elsewhere a case is a patient.

    >>> patient_of("BraTS-GLI-00005-101"), patient_of("BraTS19_TCIA08_242_1")
    ('BraTS-GLI-00005', 'BraTS19_TCIA08_242_1')
    """
    match = re.fullmatch(r"(BraTS-[A-Za-z]+-\d+)-\d+", case)
    return match[1] if match else case


@dataclass(frozen=True)
class Patients:
    """Case to patient, as a table says; a case that it does not name goes by `patient_of`.

    Args:
        table: case to patient.
    """

    table: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, case: str) -> str:
        return self.table.get(case) or patient_of(case)


def read_patients(path: str | Path, cases: Iterable[str]) -> Patients:
    """Read a CSV with the columns case and patient.

    Args:
        path: CSV with comma or semicolon. A case without a row is a patient of its own (but see `patient_of`).
        cases: all cases of the data set.

    Raises:
        FileNotFoundError: no such file.
        ValueError: other columns, an incomplete row, an unknown case, or a case with two patients.
    """
    path, known = Path(path), sorted(set(cases))
    if not path.is_file():
        raise FileNotFoundError(f"table of patients {path} does not exist; check `--patients`")
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    delimiter = ";" if lines and ";" in lines[0] else ","
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    columns = [name.lower() for name in rows[0]] if rows else []
    if sorted(columns) != sorted(COLUMNS):
        raise ValueError(
            f"{path}: the header should be {','.join(COLUMNS)} (found {','.join(columns) or 'nothing'}); "
            "rename or remove columns"
        )
    table: dict[str, str] = {}
    for number, cells in enumerate(rows[1:], start=2):
        if not any(cells):
            continue
        where, row = f"{path} row {number}", dict(zip(columns, cells, strict=False))
        if len(cells) != len(columns) or not all(cells):
            raise ValueError(
                f"{where}: should give a case and its patient (found {','.join(cells)}); complete the row"
            )
        case, patient = row["case"], row["patient"]
        if case not in known:
            raise ValueError(
                f"{where}: case {case} is not in the data set; {nearest_name(case, known)} "
                "(case ids are text: spreadsheets drop leading zeros)"
            )
        if table.setdefault(case, patient) != patient:
            raise ValueError(
                f"{where}: case {case} should have one patient (found {table[case]} and {patient}); "
                "remove a row"
            )
    return Patients(table)
