"""What MONAI's own tools ask of a bundle: properties they read and set, meta data, running from anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from monai.bundle import create_workflow, verify_metadata, verify_net_in_out

from bundle.packing.demands import metadata_schema
from tests.running import ROOT, SIZE, TRAINING, config_files, flags, make_raw, prepare, run_here, run_typed

WORKFLOWS = [("train", "train"), ("inference", "infer"), ("evaluate", "infer")]
SEGMENTER = ("inference_selftrain", "infer")  # its training: tests/configs/test_selftrain.py


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("properties")
    return prepare(make_raw(folder / "raw"), folder / "prepared")


def make(complete: str, kind: str, dataset_dir: Path, output_dir: Path, **overrides):
    """The workflow as MONAI Label makes it: one file, its kind, a few overrides."""
    (config,) = config_files(complete)
    options = {**SIZE, "dataset_dir": str(dataset_dir), "output_dir": str(output_dir), **overrides}
    return create_workflow(config_file=config, workflow_type=kind, logging_file=False, **options)


# MONAI compares the interval of the ValidationHandler with the text "@val_interval" and fails for a number.


@pytest.mark.parametrize(("complete", "kind"), [*WORKFLOWS, SEGMENTER])
def test_no_property_is_missing_or_under_another_id(complete, kind, dataset_dir, tmp_path):
    assert make(complete, kind, dataset_dir, tmp_path).check_properties() == []


@pytest.mark.parametrize(("complete", "kind"), WORKFLOWS)
def test_every_property_resolves(complete, kind, dataset_dir, tmp_path):
    workflow = make(complete, kind, dataset_dir, tmp_path)
    for name, described in workflow.properties.items():
        value = getattr(workflow, name)
        assert value is not None or not described["required"], name
    assert Path(workflow.bundle_root) == ROOT
    assert workflow.version == json.loads((ROOT / "metadata.json").read_text())["version"]


def test_a_training_takes_the_epochs_and_cases_that_a_tool_sets(dataset_dir, tmp_path):
    workflow = make("train", "train", dataset_dir, tmp_path, batch_size=4, epochs=5)
    case = workflow.train_dataset_data[0]
    workflow.max_epochs = 1
    workflow.train_dataset_data = [case]
    workflow.val_dataset_data = [case]
    workflow.initialize()
    workflow.run()
    assert workflow.trainer.state.epoch == 1
    assert [entry.case for entry in workflow.train_dataset.cases] == [case["case"]]
    assert (tmp_path / "models" / "model.pt").is_file()


def test_a_training_takes_raw_cases_whose_label_is_a_mask(dataset_dir, tmp_path):
    raw = dataset_dir.with_name("raw")
    entries = [
        {
            "image": [str(raw / case / f"{case}_{modality}.nii.gz") for modality in TRAINING["modalities"]],
            "label": str(raw / case / f"{case}_seg.nii.gz"),
        }
        for case in ("001", "002")
    ]
    datalists = {"train#dataset#data": entries[:1], "validate#dataset#data": entries[1:]}
    size = {"dataset_dir": str(dataset_dir), "output_dir": str(tmp_path), "spatial_size": 16, "epochs": 1}
    run_here("train", **{**TRAINING, **size}, **datalists)
    cached = sorted(path.name for path in (tmp_path / "cache").glob("*/cases/*"))
    assert cached == ["001", "002"]
    names = {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert names == {"image.npy", "foreground.npy", "case.json"}  # no mask


@pytest.mark.parametrize(("complete", "kind"), [*WORKFLOWS[1:], SEGMENTER])
def test_inference_takes_the_cases_that_a_tool_sets(complete, kind, dataset_dir, tmp_path):
    workflow = make(complete, kind, dataset_dir, tmp_path, split="all")
    assert len(workflow.dataset) == 4
    workflow.dataset_data = workflow.dataset_data[:1]
    workflow.initialize()
    assert len(workflow.dataset) == 1


def test_it_trains_from_another_directory(dataset_dir, tmp_path):
    config = ROOT / "configs" / "train.yaml"
    options = flags(**TRAINING, epochs=1, bundle_root=ROOT, dataset_dir=dataset_dir, output_dir="here")
    run = run_typed("run", "training", "--config_file", config, *options, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "here" / "models" / "model.pt").is_file()


def test_it_predicts_from_another_directory_by_the_path_of_the_config_alone(dataset_dir, tmp_path):
    run_here("train", **TRAINING, epochs=1, dataset_dir=str(dataset_dir), output_dir=str(tmp_path / "mine"))
    options = flags(**SIZE, dataset_dir=dataset_dir, output_dir="mine")
    run = run_typed("run", "--config_file", ROOT / "configs" / "inference.yaml", *options, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "mine" / "masks" / "004.nii.gz").is_file()


def test_the_meta_data_pass_monais_own_check(tmp_path):
    pytest.importorskip("jsonschema")
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(metadata_schema()))
    verify_metadata(str(ROOT / "configs" / "metadata.json"), filepath=str(schema))


def test_the_network_has_the_shapes_that_the_meta_data_tell():
    (config,) = config_files("inference")
    verify_net_in_out("network_def", meta_file=str(ROOT / "configs" / "metadata.json"), config_file=config)
    with pytest.raises(ValueError, match="channel"):
        verify_net_in_out(
            "network_def",
            meta_file=str(ROOT / "configs" / "metadata.json"),
            config_file=config,
            **{"_meta_#network_data_format#outputs#pred#num_channels": 3},
        )
