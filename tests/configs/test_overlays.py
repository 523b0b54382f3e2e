"""Every combination of overlays merges, resolves and trains, and each overlay keeps to its axis."""

from __future__ import annotations

import re
from itertools import permutations, product

import pytest
import torch
import yaml

from bundle.configuration import COMPLETE
from tests.running import ROOT, SEGMENTER, TRAINING, merged, run_here

AXES = {
    "dataset": {"modalities", "spatial_size", "reference", "preprocessing", "slice_normalization"},
    "network": {
        *("head_channels", "width", "levels", "early_fusion", "branch", "network_def", "readout"),
        "imagenet_weights",
    },
    "method": {
        *("warps", "loss_terms", "ramp_epochs", "pooling", "cam_reader"),
        *(
            "epochs",
            "epoch_slices",
            "batch_size",
            "learning_rate",
            "weight_decay",
            "optimizer",
            "lr_scheduler",
        ),
        *("views_in_one_batch", "precision", "method", "gate", "threshold"),
        *("augmentation", "trust_power", "own_trust", "ema_momentum", "fusion", "average_views", "refine"),
        *("smooth_slices_mm", "smooth_plane_mm", "min_volume_mm3", "fill_holes"),
        *("annealed", "initialize", "intensity_start"),
        *("training_slices", "selection", "wrap", "refined_readout"),
        *("validation_slices", "training_sampler", "held_out_metrics", "slices_per_bag", "slice_pooling"),
    },
    "run": {
        "device",
        "network",
        "validate",
        "initialize",
        "finalize",
        "epochs",
        "batch_size",
        "workers",
        "patience",
        *("early_stop", "watched", "pretrained"),
    },
}
TERMS = {"classification", "er", "kd", "cmer"}
# of another network: tests/configs/test_selftrain.py and test_selftrain3d.py
SEGMENTERS = {SEGMENTER, "method_selftrain_masks", "method_selftrain_volume_tags", "network_selftrain3d"}
SETTINGS = {"export_tensorrt", "tracking"}  # handed to a command of MONAI's, not merged
TERMS_OF = {  # of the methods that are merged over a recipe
    "method_cam": {"classification"},
    "method_augmentation": {"classification"},
    "method_kd": {"classification", "kd"},
    "method_kd_er": {"classification", "kd", "er"},
    "method_er_cmer": {"classification", "er", "cmer"},
    "method_supervised": {"supervised"},
    "method_seam": {"classification", "er", "ecr", "min_pool"},
    **{
        f"method_er{kind}": {"classification", "er"}
        for kind in ("", "_flip", "_rotate", "_scale", "_translate")
    },
}


def overlays(axis: str) -> list[str]:
    found = {path.stem for path in (ROOT / "configs").glob(f"{axis}_*.yaml")}
    return sorted(found - SEGMENTERS)


METHODS = [
    (),
    *((m,) for m in overlays("method")),
    *(("method_paper", m) for m in TERMS_OF),
    *(("method_proposed", m) for m in TERMS_OF),
]
PAPER = ("dataset_paper", "network_paper")
COMBINATIONS = sorted(
    {
        *product(
            *([(), *((name,) for name in overlays(axis))] for axis in ("dataset", "network")), [()], [()]
        ),
        *(
            ((), network, method, ())
            for network in [(), *((n,) for n in overlays("network"))]
            for method in METHODS
        ),
        *((PAPER[:1], PAPER[1:], method, ()) for method in METHODS),
        *(((), (), (), (run,)) for run in overlays("run")),
    }
)
COMBINATIONS = [sum(parts, ()) for parts in COMBINATIONS]


def names(combination: tuple[str, ...]) -> str:
    return "+".join(combination) or "default"


def terms_of(combination: tuple[str, ...]) -> set[str]:
    return TERMS_OF.get(next((m for m in reversed(combination) if m in TERMS_OF), ""), TERMS)


def test_every_shipped_overlay_has_an_axis():
    files = {path.stem for path in (ROOT / "configs").glob("*.yaml")} - {*COMPLETE, *SEGMENTERS, *SETTINGS}
    assert files == {name for axis in AXES for name in overlays(axis)}


def test_axes_share_no_ids():
    owners = [axis for axis in AXES if axis != "run"]  # a run changes duration, which a method sets, too
    for one, other in product(owners, owners):
        assert one == other or not AXES[one] & AXES[other]


@pytest.mark.parametrize("axis", AXES)
def test_an_overlay_touches_only_ids_of_its_axis(axis):
    for overlay in overlays(axis):
        ids = yaml.safe_load((ROOT / "configs" / f"{overlay}.yaml").read_text())
        touched = {re.split("#|::", name.lstrip("+"))[0] for name in ids}
        assert touched <= AXES[axis], overlay


@pytest.mark.parametrize("combination", COMBINATIONS, ids=names)
def test_every_combination_merges_and_resolves(combination):
    parser = merged("train", *combination, modalities="flair,t1c", width=2)
    network = parser.get_parsed_content("network_def")
    branches = 1 if "network_early_fusion" in combination else 2
    reader = parser.get_parsed_content("cam_reader")
    loss = parser.get_parsed_content("loss")
    image, foreground = torch.randn(3, 2, 16, 16), torch.ones(3, 1, 16, 16)
    evidence = network.eval()(image)
    channels = parser["head_channels"] + ("method_seam" in combination)  # a refined map comes along
    assert evidence.shape == (3, branches * channels, 16, 16)
    assert reader.logits(evidence, foreground).shape == (3, branches)
    cams = reader.cams(evidence, foreground)
    assert cams.shape == (3, branches, 16, 16)
    assert 0 <= cams.min() <= cams.max() <= 1
    assert set(loss.weights) == terms_of(combination)
    assert set(loss.known) >= TERMS


@pytest.mark.parametrize("complete", ["inference", "evaluate"])
@pytest.mark.parametrize(
    "combination",
    [c for c in COMBINATIONS if not any(part.startswith("run_") for part in c)],
    ids=names,
)
def test_every_combination_fits_inference_and_evaluation(complete, combination, dataset_dir):
    parser = merged(complete, *combination, modalities="flair,t1c", width=2, dataset_dir=str(dataset_dir))
    inferer = parser.get_parsed_content("inferer")
    trained = merged("train", *combination, modalities="flair,t1c", width=2)
    assert inferer.gate == parser["gate"]
    assert vars(inferer.reader.readout) == vars(trained.get_parsed_content("cam_reader").readout)
    assert vars(inferer.reader.pooling) == vars(trained.get_parsed_content("pooling"))
    item = parser.get_parsed_content("dataset")[0]
    volume, foreground = item["image"][None], item["foreground"][None]
    found = inferer(volume, parser.get_parsed_content("network_def").eval(), foreground=foreground)
    branches = 1 if "network_early_fusion" in combination else 2
    assert found["cam"].shape == (1, branches, 16, 16, 6)
    assert found["logits"].shape == (1, branches, 6)


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_every_method_trains(method, dataset_dir, tmp_path):
    epochs = {"epochs": 1, "dataset_dir": str(dataset_dir), "output_dir": str(tmp_path)}
    trained = run_here("train", *method, **{**TRAINING, **epochs})  # three steps
    weights = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in weights.values())
    metrics = trained.parser.get_parsed_content("train#trainer").state.metrics
    found = {name.removeprefix("loss_") for name in metrics if name.startswith("loss_")}
    weights = trained.parser.get_parsed_content("loss").weights
    assert found == {term for term in terms_of(method) if weights[term] > 0}


ATTACHED = ("run_multi_gpu", "run_early_stop", "run_pretrained", "method_annealed_pooling")


@pytest.mark.parametrize("order", list(permutations(ATTACHED)), ids=names)
def test_what_overlays_do_at_the_start_adds_up_in_any_order(order):
    alone = [merged("train", name)["initialize"] for name in ("train", *ATTACHED)]
    base, found = alone[0], merged("train", *order)["initialize"]
    assert found[: len(base)] == base
    assert sorted(found) == sorted([*base, *(line for lines in alone[1:] for line in lines[len(base) :])])
    assert len(found) == len(base) + 5


def test_the_papers_recipe_trains(dataset_dir, tmp_path):
    epochs = {"epochs": 1, "dataset_dir": str(dataset_dir), "output_dir": str(tmp_path)}
    run_here("train", "dataset_paper", "network_paper", "method_paper", **{**TRAINING, **epochs})
    assert (tmp_path / "models" / "model.pt").is_file()
