"""Mistyped ids are refused with the nearest known one; settings of two runs are compared by id."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from bundle import configuration
from bundle.configuration import (
    check_ids,
    differing_ids,
    merged_config,
    settings_of_run,
    tell_cause_last,
)
from bundle.data import name_list
from tests.running import merged


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """A folder with complete configs, and an overlay beside them that changes a leaf and makes a slip."""
    base = {"epochs": 8, "batch_size": 16, "modalities": ["t1"], "loss_terms": {"er": {"weight": 1.0}}}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(base))
    (tmp_path / "method_x.yaml").write_text(yaml.safe_dump({"loss_terms#er#weight": 0.0, "epoch": 3}))
    for name in configuration.COMPLETE[1:]:
        (tmp_path / f"{name}.yaml").write_text("batch_size: 16\n")
    monkeypatch.setattr(configuration, "CONFIG_DIR", tmp_path)
    return base


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("flair", ["flair"]),
        ("flair,t1c", ["flair", "t1c"]),
        ("[flair, t1c]", ["flair", "t1c"]),
        (("flair", "t1c"), ["flair", "t1c"]),
        (["flair"], ["flair"]),
        ("", []),
    ],
)
def test_a_word_is_a_list_of_one_and_commas_separate(value, expected):
    assert name_list(value) == expected


def test_known_ids_pass(configs):
    check_ids(configs)
    check_ids({**configs, "epochs": 9, "_meta_": {}})


def test_the_name_that_monais_federated_client_gives_a_run_passes(configs):
    check_ids({**configs, "run_name": "site_a_20260101_120000"})


@pytest.mark.parametrize(
    ("mistyped", "near"), [("epoch", "epochs"), ("batchsize", "batch_size"), ("modality", "modalities")]
)
def test_a_mistyped_id_is_refused_with_the_nearest_known_one(configs, mistyped, near):
    with pytest.raises(ValueError, match=f"config id '{mistyped}' is unknown .* did you mean {near}"):
        check_ids({**configs, mistyped: 4})


def test_an_id_of_ones_own_passes_if_something_refers_to_it(configs):
    check_ids({**configs, "my_weight": 2.0, "loss_terms": {"er": {"weight": "@my_weight"}}})
    check_ids({**configs, "my_weight": 2.0, "epochs": "$@my_weight * 2"})
    with pytest.raises(ValueError, match="'my_weight' is unknown"):
        check_ids({**configs, "my_weight": 2.0, "epochs": "@my_weights"})


def test_every_shipped_file_passes_its_own_check():
    for file in configuration.CONFIG_DIR.glob("*_*.yaml"):
        if file.stem == "export_tensorrt":  # settings of a command
            continue
        if file.stem.startswith("method_selftrain_"):  # of the segmenter's training; nothing else has its ids
            check_ids(merged("train_selftrain", file.stem).get())
            continue
        for complete in ("train", "inference", "evaluate")[: 1 if file.stem.startswith("run_") else 3]:
            check_ids(merged(complete, file.stem).get())


def test_outside_a_workflow_nothing_was_merged():
    assert merged_config() == {}
    assert settings_of_run() == {}
    check_ids()


def test_differing_ids_are_named_in_order():
    before = {"width": 16, "seed": 0, "levels": 2}
    assert differing_ids(before, {"width": 8, "seed": 0, "pooling": {}}) == ["levels", "pooling", "width"]


def test_what_says_nothing_of_the_result_may_differ():
    before = {"width": 16, "output_dir": "a", "dataset_dir": "b", "device": "cpu"}
    after = {
        "width": 16,
        "output_dir": "c",
        "dataset_dir": "d",
        "device": "cuda",
        "resume": True,
    }
    assert differing_ids(before, after) == []


def test_values_are_compared_as_json_gives_them_back():
    assert differing_ids({"scale": (0.8, 1.2), "n": {1: 2}}, {"scale": [0.8, 1.2], "n": {"1": 2}}) == []


def test_a_list_of_modalities_equals_what_a_command_line_makes_of_it():
    assert differing_ids({"modalities": ["flair", "t1c"]}, {"modalities": "flair,t1c"}) == []
    assert differing_ids({"modalities": ["flair"]}, {"modalities": "flair"}) == []
    assert differing_ids({"modalities": ["flair", "t1c"]}, {"modalities": "t1c,flair"}) == ["modalities"]


def test_settings_that_were_not_recorded_are_not_compared():
    assert differing_ids({}, {"width": 16}) == []
    assert differing_ids({"width": 16}, {}) == []


def test_an_uncaught_error_ends_with_its_cause(monkeypatch, capsys):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    tell_cause_last()
    try:
        try:
            raise ValueError("case 017: modality t2 is missing")
        except ValueError as cause:
            raise RuntimeError("Failed to evaluate") from cause
    except RuntimeError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    assert capsys.readouterr().err.endswith("\nerror: case 017: modality t2 is missing\n")


@pytest.mark.parametrize("wrapped", [True, False])
def test_an_uncaught_error_tells_its_cause_to_whoever_started_the_process(
    wrapped, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setenv(configuration.CAUSE_FILE, str(tmp_path / "told"))
    tell_cause_last()
    error: Exception = ValueError("case 017: modality t2 is missing")
    if wrapped:
        error, error.__cause__ = RuntimeError("Failed to evaluate"), error
    sys.excepthook(type(error), error, None)
    assert (tmp_path / "told").read_text() == "case 017: modality t2 is missing"


def test_constants_that_arrive_as_text_are_refused():
    for text, constant in (("false", "False"), ("TRUE", "True"), ("null", "None")):
        with pytest.raises(ValueError, match=f"'warps#compose' is the text '{text}'; write {constant}"):
            check_ids({"warps": {"compose": text}})
    check_ids({"warps": {"compose": False}})


def test_a_mistyped_key_of_a_section_is_refused():
    with pytest.raises(ValueError, match=r"'validate#val_intervall' is unknown"):
        check_ids({"validate": {"val_intervall": 3}})


TRACKED = {
    "save_execute_config": False,
    "run_name": "R",
    "epochs": 8,
    "handlers": [{"_target_": "StatsHandler"}, {"_target_": "MLFlowHandler", "run_name": "@run_name"}],
}


def test_what_tracking_merges_in_is_known_where_it_tracks(configs):
    check_ids({**TRACKED, "handlers_of_mine": "@handlers", "epochs": "@handlers_of_mine"})
    with pytest.raises(ValueError, match="'save_execute_config' is unknown"):
        check_ids({**configs, "save_execute_config": False})


def test_tracking_is_no_setting_of_a_run(monkeypatch, tmp_path):
    monkeypatch.setattr(configuration, "merged_config", lambda: TRACKED)
    assert settings_of_run() == {"epochs": 8, "handlers": [{"_target_": "StatsHandler"}]}
    written = configuration.write_settings(tmp_path / "new" / "config.json")
    assert json.loads(Path(written).read_text()) == settings_of_run()


def test_overlays_that_begin_with_something_of_a_training_are_known_as_of_training_alone():
    overlays = [
        path for axis in ("method", "run") for path in configuration.CONFIG_DIR.glob(f"{axis}_*.yaml")
    ]
    begin = {path.stem for path in overlays if "+initialize" in yaml.safe_load(path.read_text())}
    assert begin == set(configuration.OF_TRAINING_ALONE)
