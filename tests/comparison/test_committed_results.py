"""The results that are kept with the project: whole, and the tables beside them are made of them."""

from __future__ import annotations

import csv
import io
import json

import pytest
import yaml

from bundle.comparison.beyond import BEYOND, lay_out_beyond
from bundle.comparison.layouts import lay_out
from bundle.comparison.reproduction import COMMITTED
from bundle.comparison.results_store import ABOUT, is_complete, read_result
from bundle.comparison.steps import steps_to_csv
from bundle.comparison.tables import to_csv

RUNS = sorted(file.parent for file in COMMITTED.glob(f"*/{ABOUT}"))
TABLES = sorted(COMMITTED.glob("tables/*/*.csv"))


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_a_committed_result_is_whole_and_names_no_place_of_a_machine(folder):
    assert is_complete(folder)
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    assert folder.name.endswith(f"_{about['identity']}")
    config = (folder / "config.yaml").read_text(encoding="utf-8")
    assert not {"dataset_dir", "output_dir"} & set(yaml.safe_load(config))
    assert "/tmp" not in config


@pytest.mark.parametrize("file", TABLES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_committed_table_is_made_of_committed_results(file):
    about = json.loads((file.parent / "about.json").read_text(encoding="utf-8"))
    results = [read_result(COMMITTED / name) for name in about["runs"][file.stem]]
    if file.stem in BEYOND:
        text = steps_to_csv(lay_out_beyond(file.stem, about["modalities"], about["training_cases"]), results)
    else:
        text = to_csv(lay_out(file.stem, about["modalities"]), results)
    assert rows(text) == rows(file.read_text(encoding="utf-8"))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_there_are_some():
    assert len(RUNS) > 50
    assert len(TABLES) > 8
