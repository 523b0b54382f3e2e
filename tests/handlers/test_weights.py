"""Weights are loaded with a look at the settings and the cases that they were trained with."""

from __future__ import annotations

import json

import pytest
import torch
from ignite.engine import Engine

from bundle.data import CaseDataset
from bundle.handlers import LoadWeights
from tests.running import merged

SETTINGS = {"modalities": ["flair", "t1c"], "width": 4}


def save(folder, **settings) -> str:
    network = torch.nn.Linear(2, 1)
    torch.save(network.state_dict(), folder / "model.pt")
    (folder / "model.json").write_text(json.dumps({**SETTINGS, **settings}))
    return str(folder / "model.pt")


def load(checkpoint: str, settings=SETTINGS, cases=()) -> None:
    engine = Engine(lambda engine, batch: None)
    engine.data_loader = torch.utils.data.DataLoader(
        CaseDataset([{"image": f"{case}.nii.gz", "case": case} for case in cases], ["flair"])
    )
    LoadWeights(checkpoint, torch.nn.Linear(2, 1), settings)(engine)


def test_other_modalities_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"modalities was \['flair', 't1c'\], is \['t1c', 'flair'\]"):
        load(save(tmp_path), {**SETTINGS, "modalities": ["t1c", "flair"]})


@pytest.mark.parametrize(
    ("complete", "overlays"),
    [
        (("train_selftrain", "inference_selftrain"), ("network_selftrain3d",)),
        (("train", "inference"), ("method_supervised",)),
        (("train", "evaluate"), ("method_supervised",)),
    ],
)
def test_another_width_under_the_right_configs_is_no_other_stages(complete, overlays, tmp_path):
    trained, reading = (settings_of(name, *overlays) for name in complete)
    with pytest.raises(
        ValueError, match=r"width was 32, is .*; give the same overlays and options as in training"
    ):
        load(save(tmp_path, **{**trained, "width": 32}), reading)


@pytest.mark.parametrize(
    ("trained", "reading", "said"),
    [
        (
            ("train_selftrain",),
            ("evaluate",),
            "it is a segmenter's: use configs/inference_selftrain.yaml, or configs/evaluate.yaml with "
            "configs/method_selftrain.yaml merged after it",
        ),
        (("train_selftrain",), ("inference",), "it is a segmenter's: use configs/inference_selftrain.yaml"),
        (("train",), ("inference_selftrain",), "it is the CAM stage's: use configs/inference.yaml"),
        (("train",), ("evaluate", "method_selftrain"), "it is the CAM stage's: use configs/inference.yaml"),
        (("train",), ("inference", "network_unet3"), "give the same overlays and options as in training"),
    ],
)
def test_the_other_stages_weights_are_refused_in_a_line_that_names_the_config(
    trained, reading, said, tmp_path
):
    with pytest.raises(ValueError, match="was trained with other settings") as error:
        load(save(tmp_path, **settings_of(*trained)), settings_of(*reading))
    text = str(error.value).replace(str(tmp_path), "")
    assert said in text
    assert ("branch was BasicUNet, is CamUNet" in text) == ("train_selftrain" in trained)
    assert "\n" not in text
    assert len(text) < 450


def settings_of(*names: str) -> dict:
    return {name: value for name, value in merged(*names).get().items() if name != "_meta_"}


def test_of_a_part_what_differs_is_named(tmp_path):
    pooling = {"_target_": "RankPooling", "decay_per_mille": 0.98}
    with pytest.raises(ValueError, match=r"\(pooling#decay_per_mille was 0.98, is 0.5\)"):
        load(save(tmp_path, pooling=pooling), {**SETTINGS, "pooling": {**pooling, "decay_per_mille": 0.5}})


def test_weights_of_other_patches_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"patch_size was \[32, 32, 8\], is \[96, 96, 32\]"):
        load(save(tmp_path, patch_size=[32, 32, 8]), {**SETTINGS, "patch_size": [96, 96, 32]})


def test_cases_of_the_training_are_pointed_out(tmp_path):
    checkpoint = save(tmp_path, training_cases=["017"], validation_cases=["018"])
    with pytest.warns(UserWarning, match=r"cases that were used to train or select .*: 2 of 3 \(017, 018\)"):
        load(checkpoint, cases=["017", "018", "019"])


def test_weights_without_their_settings_are_loaded_with_a_warning(tmp_path):
    checkpoint = save(tmp_path)
    (tmp_path / "model.json").unlink()
    with pytest.warns(UserWarning, match=r"model.json is missing, so nothing tells"):
        load(checkpoint)


def test_missing_weights_and_weights_of_another_network_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="train first with this --output_dir"):
        load(str(tmp_path / "model.pt"))
    torch.save(torch.nn.Linear(3, 1).state_dict(), tmp_path / "model.pt")
    (tmp_path / "model.json").write_text(json.dumps(SETTINGS))
    with pytest.raises(ValueError, match="does not fit the network"):
        load(str(tmp_path / "model.pt"))


def test_a_damaged_checkpoint_is_named_with_the_remedy(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"junk")
    with pytest.raises(
        ValueError, match=r"checkpoint .*model.pt cannot be read .* delete it and train again"
    ):
        load(str(tmp_path / "model.pt"))


def test_weights_of_a_version_without_trust_say_so(tmp_path):
    class Trusting(torch.nn.Linear):
        def __init__(self):
            super().__init__(2, 1)
            self.register_buffer("trust", torch.ones(2))

    torch.save(torch.nn.Linear(2, 1).state_dict(), tmp_path / "model.pt")
    handler = LoadWeights(str(tmp_path / "model.pt"), Trusting())
    with (
        pytest.warns(UserWarning, match="model.json is missing"),
        pytest.raises(ValueError, match="kept no trust of branches: train again"),
    ):
        handler(Engine(lambda engine, batch: None))
