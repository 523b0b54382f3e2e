"""One prepared cohort for all tests of the configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.running import make_raw, prepare


@pytest.fixture(scope="session")
def dataset_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("configs")
    return prepare(make_raw(folder / "raw"), folder / "prepared")
