"""One prepared cohort for all tests of the configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import make_scan, write_case_files
from tests.running import make_raw, prepare

SPLITS = {"train": ["001", "002", "005"], "validation": ["003", "006"], "test": ["004"]}


@pytest.fixture(scope="session")
def dataset_dir(tmp_path_factory) -> Path:
    """Cases 001 to 004 with a lesion; 005 and 006 are healthy, as tags of whole volumes need some to be."""
    folder = tmp_path_factory.mktemp("configs")
    raw = make_raw(folder / "raw")
    for case in ("005", "006"):
        write_case_files(raw / case, case, *make_scan(int(case), lesion=()))
    return prepare(raw, folder / "prepared", SPLITS)
