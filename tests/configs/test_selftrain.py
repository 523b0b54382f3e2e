"""The segmenter's configs agree with each other, and with the CAM stage's in all that is plumbing."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import create_workflow

from bundle.configuration import CONFIG_DIR, MODEL_IDS, check_ids
from bundle.data import PreparedCase, PseudoLabelSliceDataset
from bundle.losses import SelfTrainingLoss
from bundle.networks import BranchEnsemble
from tests.running import SEGMENTER, config_files, make_raw, merged, prepare, root_cause, workflow

SMALL = {"modalities": "flair,t1c", "width": 2, "precision": "float32", "batch_size": 4}
# What differs between the two stages: the network and how masks are made of its maps.
OWN = {"head_channels", "width", "levels", "early_fusion", "branch", "wrap", "pooling", "cam_reader"} | {
    *("method", "gate", "fusion", "average_views", "smooth_slices_mm", "smooth_plane_mm"),
    *("refine", "threshold", "min_volume_mm3", "fill_holes"),
    "intensity_start",
}
BRANCH_ALONE = {"levels", "intensity_start"}  # of the CAM stage's branch


def raw(*names: str) -> dict:
    parser = merged(*names)
    return {key: value for key, value in parser.get().items() if key != "_meta_"}


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """The cohort at 32 x 32 pixels, which a network of four poolings needs, and maps of its training cases."""
    folder = tmp_path_factory.mktemp("selftrain")
    prepare(make_raw(folder / "raw"), folder / "prepared", spatial_size=32)
    (folder / "maps").mkdir()
    for case in ("001", "002"):
        geometry = PreparedCase.open(folder / "prepared" / "cases" / case).geometry
        cam = np.zeros(geometry.shape, dtype=np.float32)
        cam[5:10, 6:12, 2:4] = 0.9
        nib.save(nib.Nifti1Image(cam, geometry.affine), folder / "maps" / f"{case}.nii.gz")
    return folder


def places(wide: Path) -> dict[str, str]:
    return {"dataset_dir": str(wide / "prepared"), "labels_dir": str(wide / "maps")}


def test_training_and_prediction_of_the_segmenter_share_all_that_decides_what_it_says():
    training, prediction = raw("train_selftrain"), raw("inference_selftrain")
    shared = {name for name in (*MODEL_IDS, "names", "network", "device") if name in training}
    assert shared >= {"branch", "pooling", "preprocessing", "network_def", "width"}
    assert {name: training[name] for name in shared} == {name: prediction[name] for name in shared}


def test_evaluation_makes_the_masks_that_prediction_makes():
    prediction, evaluation = raw("inference_selftrain"), raw("evaluate", SEGMENTER)
    shared = set(prediction) & set(evaluation) - {"imports", "postprocessing", "handlers", "map_names", "run"}
    assert shared >= OWN - BRANCH_ALONE
    assert {name: prediction[name] for name in shared} == {name: evaluation[name] for name in shared}
    steps = [
        [step["_target_"] for step in transforms if isinstance(step, dict)]
        for transforms in (
            prediction["masks_of_maps"]["transforms"],
            evaluation["postprocessing"]["transforms"],
        )
    ]
    assert steps[0] == steps[1][:-1]  # the last one reads the truth


def test_what_scores_the_segmenter_pins_all_that_makes_it():
    pinned = yaml.safe_load((CONFIG_DIR / f"{SEGMENTER}.yaml").read_text())
    assert set(pinned) == (OWN | {"readout", "wrap"}) - BRANCH_ALONE


def test_prediction_is_the_cam_stages_but_for_network_and_masks():
    cam, own = raw("inference"), raw("inference_selftrain")
    assert {name for name in cam.keys() | own.keys() if cam.get(name) != own.get(name)} <= OWN


def test_training_reads_and_normalises_as_the_cam_stage_does():
    cam, own = raw("train"), raw("train_selftrain")
    for name in ("preprocessing", "slice_normalization", "modalities", "names", "network_def", "readout"):
        assert own[name] == cam[name], name
    for name in ("spatial_size", "reference", "affines_from_reference", "cache_dir", "data", "transform"):
        assert own["train"]["dataset"][name] == cam["train"]["dataset"][name], name


@pytest.mark.parametrize("complete", ["train_selftrain", "inference_selftrain"])
def test_the_configs_have_no_unknown_ids(complete):
    check_ids(merged(complete).get())
    check_ids(merged("evaluate", SEGMENTER).get())


@pytest.mark.parametrize(
    ("complete", "slip", "meant"),
    [("train_selftrain", "label_dir", "labels_dir"), ("inference_selftrain", "tresholds", "threshold")],
)
def test_a_mistyped_option_fails(complete, slip, meant, wide):
    with pytest.raises(RuntimeError) as error:
        workflow(complete, dataset_dir=str(wide / "prepared"), **{slip: "x"})
    assert f"did you mean {meant}?" in str(root_cause(error.value))


def test_it_trains_on_pseudo_masks_of_untagged_slices_too_and_on_nothing_else(wide):
    parser = merged("train_selftrain", **SMALL, **places(wide))
    dataset, loss = (parser.get_parsed_content(name) for name in ("train#dataset", "loss"))
    assert isinstance(dataset, PseudoLabelSliceDataset)
    assert (dataset.upper, dataset.lower) == (parser["upper"], parser["lower"])
    assert list(loss.terms) == ["self_training"]
    assert isinstance(loss.terms["self_training"], SelfTrainingLoss)
    text = yaml.safe_dump(yaml.safe_load((CONFIG_DIR / "train_selftrain.yaml").read_text()))
    assert not re.search("MaskSliceDataset|LoadTruthd|read_mask", text)


@pytest.mark.parametrize("modalities", ["flair", "flair,t1c"])
def test_it_takes_two_steps_and_gives_masks(modalities, wide):
    small = {**SMALL, "modalities": modalities}
    two_steps = {"epochs": 1, "train#trainer#epoch_length": 2, "train#handlers": []}
    training = merged("train_selftrain", **small, **places(wide), **two_steps)
    network = training.get_parsed_content("network_def")
    assert isinstance(network, BranchEnsemble)
    assert len(network.branches) == 1
    before = [weight.clone() for weight in network.parameters()]
    trainer = training.get_parsed_content("train#trainer")
    trainer.run()
    assert torch.isfinite(trainer.state.output["loss"])
    assert any(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
    reading = merged("evaluate", SEGMENTER, **small, dataset_dir=str(wide / "prepared"))
    item = reading.get_parsed_content("dataset")[0]
    inferer = reading.get_parsed_content("inferer")
    found = inferer(item["image"][None], network.eval(), foreground=item["foreground"][None])
    assert found["cam"].shape == (1, 1, 32, 32, 6)
    assert 0 <= found["cam"].min() <= found["cam"].max() <= 1


def test_tools_find_every_property_of_its_training(wide):
    (config,) = config_files("train_selftrain")
    given = {**SMALL, **places(wide), "output_dir": str(wide / "run")}
    made = create_workflow(config_file=config, workflow_type="train", logging_file=False, **given)
    assert made.check_properties() == []
