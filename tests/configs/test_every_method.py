"""Every method on every backbone takes two steps and gives a mask."""

from __future__ import annotations

import json

import pytest
import torch

from tests.configs.test_overlays import METHODS, names, overlays
from tests.running import merged

NETWORKS = [(), *((name,) for name in overlays("network") if name != "network_paper")]
SMALL = {"modalities": "flair,t1c", "width": 2, "precision": "float32", "batch_size": 4}


@pytest.mark.parametrize("network", NETWORKS, ids=names)
@pytest.mark.parametrize("method", [m for m in METHODS if "method_paper" not in m], ids=names)
def test_a_method_on_a_backbone_takes_two_steps_and_gives_a_mask(method, network, dataset_dir):
    where = {**SMALL, "dataset_dir": str(dataset_dir)}
    two_steps = {"epochs": 1, "ramp_epochs": 0, "train#trainer#epoch_length": 2, "train#handlers": []}
    torch.manual_seed(0)
    training = merged("train", *network, *method, **where, **two_steps)
    model = training.get_parsed_content("network")
    before = [weight.clone() for weight in model.parameters()]
    trainer = training.get_parsed_content("train#trainer")
    trainer.run()
    assert torch.isfinite(trainer.state.output["loss"])
    assert trainer.state.iteration == 2
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))

    reading = merged("evaluate", *network, *method, **where)
    item = reading.get_parsed_content("dataset")[0]
    item["geometry"] = json.dumps(item["geometry"].to_dict())  # as it leaves the loader
    inferer = reading.get_parsed_content("inferer")
    pred = inferer(item["image"][None], model.eval(), foreground=item["foreground"][None])
    pred = {name: value[0] for name, value in pred.items()}
    done = reading.get_parsed_content("postprocessing")({**item, "pred": pred})
    assert len(done["cams"]) == len(reading.get_parsed_content("map_names"))
    assert 0 <= done["cams"].min() <= done["cams"].max() <= 1
    fused_mask = done["cams"][-1] > reading["threshold"]
    assert fused_mask.shape == done["mask"].shape
