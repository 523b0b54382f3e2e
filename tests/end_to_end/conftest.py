"""One cohort, prepared, and one network trained on it, for all end-to-end tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.running import TRAINING, make_raw, prepare, run_here

LEARNING = {**TRAINING, "learning_rate": 0.01, "epochs": 40}  # enough to find the square


@pytest.fixture(scope="session")
def raw(tmp_path_factory) -> Path:
    """Four cases in the BraTS layout, with masks."""
    return make_raw(tmp_path_factory.mktemp("cohort") / "raw")


@pytest.fixture(scope="session")
def dataset_dir(raw) -> Path:
    """The same, prepared."""
    return prepare(raw, raw.with_name("prepared"))


@pytest.fixture(scope="session")
def trained(dataset_dir) -> Path:
    """The output folder of a training; copy nothing into it."""
    output_dir = dataset_dir.with_name("trained")
    run_here("train", **LEARNING, dataset_dir=str(dataset_dir), output_dir=str(output_dir))
    return output_dir


@pytest.fixture(scope="session")
def checkpoint(trained) -> str:
    return str(trained / "models" / "model.pt")
