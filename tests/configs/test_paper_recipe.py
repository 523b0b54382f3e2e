"""The paper's recipe has the paper's values, and stays as it is when a default changes."""

from __future__ import annotations

import math

import pytest
import torch
import yaml
from ignite.engine import Engine, Events

from bundle.configuration import CONFIG_DIR
from bundle.data import LowestToZerod, SliceNormalization
from bundle.equivariance import WarpPolicy
from bundle.handlers import LossTermHandlers
from bundle.inferers import CamInferer
from bundle.networks import CamUNet
from bundle.pooling import AveragePooling
from tests.running import merged

RECIPE = ("dataset_paper", "network_paper", "method_paper")
# Ids that decide where and how a recipe runs, or only put its parts together, not what it computes.
PLUMBING = {
    *("averaged", "kept", "available", "masking", "training_cases"),
    *("imports", "bundle_root", "dataset_dir", "output_dir", "cache_dir", "datalist", "patterns", "split"),
    *(
        "splits",
        "checkpoint",
        "resume",
        "reference",
        "affines_from_reference",
        "seed",
        "workers",
        "save_also",
        "val_interval",
        "finalize",
    ),
    *("training_slices", "also_fuse", "groups"),
    *("validation_slices", "training_sampler", "held_out_metrics", "tag_share"),
    *("names", "map_names", "device", "network", "loss", "train", "validate", "data", "dataset"),
    *("dataloader", "inferer", "postprocessing", "handlers", "evaluator"),
    *("masks_of_maps", "pre_transforms", "post_transforms"),
    *("initialize", "training", "run", "inference", "evaluating"),
}


def ids_of(*names: str) -> set[str]:
    return {key for name in names for key in yaml.safe_load((CONFIG_DIR / f"{name}.yaml").read_text())}


@pytest.fixture(scope="module")
def recipe():
    return merged("train", *RECIPE, dataset_dir="none")


@pytest.mark.parametrize("complete", ["train", "inference", "evaluate"])
def test_it_pins_every_id_that_matters(complete):
    assert ids_of(complete) - PLUMBING <= ids_of(*RECIPE)


@pytest.mark.parametrize("complete", ["train", "inference", "evaluate"])
def test_changed_defaults_leave_it_as_it_is(complete, tmp_path):
    config = yaml.safe_load((CONFIG_DIR / f"{complete}.yaml").read_text())
    changed = {key: value if key in PLUMBING else "changed" for key, value in config.items()}
    assert "changed" in changed.values()
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(changed))
    now, later = merged(complete, *RECIPE), merged(str(tmp_path / "changed.yaml"), *RECIPE)
    assert later.get() == now.get()


def test_data_are_normalised_slice_by_slice_after_the_warp(recipe):
    assert recipe["modalities"] == ["t1", "t1c", "t2", "flair"]
    (shift,) = recipe.get_parsed_content("preprocessing").transforms
    assert isinstance(shift, LowestToZerod)
    normalise = recipe.get_parsed_content("slice_normalization")
    assert isinstance(normalise, SliceNormalization)
    assert normalise.epsilon == 1e-12


def test_a_branch_has_3398144_parameters(recipe):
    network = recipe.get_parsed_content("network_def")
    assert len(network.branches) == 4
    for branch in network.branches:
        assert isinstance(branch, CamUNet)
        assert sum(p.numel() for p in branch.parameters()) == 3_398_144
        assert (branch.levels, branch.evidence.in_channels, branch.evidence.out_channels) == (3, 64, 2)
    assert recipe.get_parsed_content("readout").tumour_channel_only


def test_logits_are_the_average_over_the_whole_slice(recipe):
    reader = recipe.get_parsed_content("cam_reader")
    assert isinstance(reader.pooling, AveragePooling)
    assert not reader.pooling.foreground_only
    assert not reader.foreground_only
    assert reader.epsilon == 1e-8


def test_one_of_four_warps_is_drawn(recipe):
    policy = recipe.get_parsed_content("warps")
    assert isinstance(policy, WarpPolicy)
    assert recipe["warps"] == {
        "_target_": "bundle.equivariance.WarpPolicy",
        "kinds": ["flip", "rotate", "scale", "translate"],
        "compose": False,
        "scale_range": [0.8, 1.2],
        "shift_frac": 0.3,
    }


def test_the_objective_is_equation_8(recipe):
    loss = recipe.get_parsed_content("loss")
    assert loss.weights == {"classification": 1.0, "er": 1.0, "kd": 0.5, "cmer": 1.0}
    assert (loss.terms["er"].reduction, loss.terms["cmer"].reduction) == ("mean", "sum")
    assert loss.terms["kd"].temperature == 10
    assert loss.terms["er"].positive_only
    assert loss.terms["cmer"].positive_only
    assert loss.terms["cmer"].trust_teacher


def test_er_and_cmer_reach_their_weight_after_15_epochs(recipe):
    loss = recipe.get_parsed_content("loss")
    for term in ("er", "cmer"):
        trainer = Engine(lambda engine, batch: None)
        LossTermHandlers(loss).attach(trainer)
        seen = []
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: seen.append(loss.weights[term]))  # noqa: B023
        trainer.run([0], max_epochs=17)
        assert seen[14:] == pytest.approx([math.exp(-1), 1, 1])  # t = 14, 15, 16 epochs are behind it
        assert seen[0] < 1e-90


def test_it_is_optimised_as_published(recipe):
    optimizer = recipe.get_parsed_content("optimizer")
    assert type(optimizer) is torch.optim.AdamW
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (5e-5, 0.1)
    scheduler = recipe.get_parsed_content("lr_scheduler")
    optimizer.step()
    for _ in range(3):
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 5e-5
    assert (recipe["epochs"], recipe["batch_size"], recipe["precision"]) == (30, 16, "float32")
    assert recipe["views_in_one_batch"] is False


@pytest.mark.parametrize("complete", ["inference", "evaluate"])
def test_a_map_counts_where_its_branch_says_tumour(complete):
    parser = merged(complete, *RECIPE, width=2)
    inferer = parser.get_parsed_content("inferer")
    assert type(inferer) is CamInferer
    assert inferer.gate == "class"
    assert inferer.precision == "float32"
    assert isinstance(inferer.normalise, SliceNormalization)
    assert parser["threshold"] == 0.5
