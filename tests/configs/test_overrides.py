"""What a user types: a slip fails and names what was meant, and one value is a list of one."""

from __future__ import annotations

import pytest
import torch

from bundle.configuration import check_ids, differing_ids
from tests.running import ROOT, TRAINING, flags, merged, root_cause, run_here, run_typed, workflow


@pytest.fixture
def settings(dataset_dir, tmp_path):
    return {**TRAINING, "epochs": 1, "dataset_dir": str(dataset_dir), "output_dir": str(tmp_path / "run")}


def test_a_mistyped_option_fails_on_the_command_line(settings):
    run = run_typed("run", "training", "--config_file", "configs/train.yaml", *flags(**settings, epoch=3))
    assert run.returncode != 0
    assert "config id 'epoch' is unknown" in run.stderr
    assert "did you mean epochs?" in run.stderr


@pytest.mark.parametrize("complete", ["train", "inference", "evaluate"])
def test_the_shipped_configs_have_no_unknown_ids(complete):
    check_ids(merged(complete).get())


@pytest.mark.parametrize("complete", ["inference", "evaluate"])
def test_a_mistyped_option_fails_at_inference(complete, settings):
    with pytest.raises(RuntimeError) as error:
        workflow(complete, dataset_dir=settings["dataset_dir"], tresholds=0.4)
    assert isinstance(root_cause(error.value), ValueError)
    assert "did you mean threshold?" in str(root_cause(error.value))


def test_a_mistyped_id_in_an_overlay_fails(settings, tmp_path):
    overlay = tmp_path / "method_mine.yaml"
    overlay.write_text("learning_rat: 1.0e-4\n")
    with pytest.raises(RuntimeError) as error:
        workflow("train", str(overlay), **settings)
    assert "did you mean learning_rate?" in str(root_cause(error.value))


def test_an_id_of_ones_own_is_welcome_where_something_refers_to_it(settings, tmp_path):
    overlay = tmp_path / "method_mine.yaml"
    overlay.write_text("base_rate: 0.25\nlearning_rate: $2 * @base_rate\n")
    made = workflow("train", str(overlay), **settings)
    assert made.parser.get_parsed_content("optimizer").defaults["lr"] == 0.5


def test_an_unknown_loss_term_fails(settings):
    with pytest.raises(KeyError) as error:
        workflow("train", **settings, **{"loss_terms#ere#weight": 2})
    assert "did you mean 'er'?" in str(root_cause(error.value))


def test_a_mistyped_part_of_a_loss_term_fails(settings):
    with pytest.raises(RuntimeError) as error:
        run_here("train", **settings, **{"loss_terms#er#weigth": 2})
    assert "expected the keys loss and weight" in str(root_cause(error.value))


def test_a_mistyped_argument_of_a_part_fails(settings):
    with pytest.raises(RuntimeError) as error:
        run_here("train", **settings, **{"train#trainer#max_epoch": 2})
    assert "'max_epoch'" in str(root_cause(error.value))


def test_a_term_is_reweighted_by_name(settings):
    made = workflow("train", **settings, **{"loss_terms#er#weight": 2})
    assert made.parser.get_parsed_content("loss").weights["er"] == 2


@pytest.mark.parametrize("given", ["flair", ("flair",), ["flair"], "[flair]"])
def test_one_modality_is_a_list_of_one(given):
    parser = merged("train", modalities=given, width=2)
    assert parser.get_parsed_content("names") == ["flair"]
    assert len(parser.get_parsed_content("network_def").branches) == 1


@pytest.mark.parametrize("given", ["flair,t1", ("flair", "t1"), ["flair", "t1"]])
def test_two_modalities_are_two(given):
    parser = merged("train", modalities=given, width=2)
    assert parser.get_parsed_content("names") == ["flair", "t1"]
    assert len(parser.get_parsed_content("network_def").branches) == 2


def test_modalities_compare_equal_however_they_are_typed():
    given = ("flair", ["flair"], ("flair",))
    assert not any(differing_ids({"modalities": a}, {"modalities": b}) for a in given for b in given)
    assert differing_ids({"modalities": "flair,t1"}, {"modalities": ["t1", "flair"]}) == ["modalities"]


def test_one_modality_trains_without_an_exchange_between_branches(settings, tmp_path):
    made = run_here("train", **{**settings, "modalities": "flair", "loss_terms#kd#weight": 0.5})
    metrics = made.parser.get_parsed_content("train#trainer").state.metrics
    assert metrics["loss_kd"] == metrics["loss_cmer"] == 0
    assert metrics["loss_classification"] > 0
    weights = torch.load(tmp_path / "run" / "models" / "model.pt", weights_only=True)
    assert {name.split(".")[1] for name in weights if name.startswith("branches.")} == {"0"}
    assert weights["trust"].shape == (1,)


def test_the_meta_data_beside_the_configs_are_those_of_the_bundle():
    beside, root = ROOT / "configs" / "metadata.json", ROOT / "metadata.json"
    assert beside.read_bytes() == root.read_bytes()
