"""What a run is: its configs, its options, and the hash that knows it again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bundle.comparison.cohort import Cohort
from bundle.comparison.plan import plan_runs
from bundle.comparison.runs import PROPOSED, RunSpec
from bundle.comparison.scales import SCALES

FOUR = ("t1", "t1c", "t2", "flair")
COHORT = Cohort(
    Path("D"),
    "phantom",
    FOUR,
    64,
    {None: "splits.json"},
    {"train": 3, "validation": 1, "test": 2},
    {None: "aa"},
)


def plan(spec: RunSpec, scale: str = "small", seed: int = 0, cohort: Cohort = COHORT, **options):
    (run,) = plan_runs([spec], cohort, SCALES[scale], [seed], **options)
    return run


def test_every_seed_and_fold_is_a_run_and_each_is_made_once():
    folds = replace(
        COHORT, splits={0: "splits_fold0.json", 1: "splits_fold1.json"}, digests={0: "aa", 1: "bb"}
    )
    spec = RunSpec("cam", FOUR)
    runs = plan_runs([spec, spec], folds, SCALES["small"], [0, 1, 0])
    assert [(run.seed, run.fold) for run in runs] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({run.name for run in runs}) == 4
    assert [run.training["splits"] for run in runs[:2]] == ["splits_fold0.json", "splits_fold1.json"]


def test_the_hash_is_that_of_the_config_and_the_data():
    spec = RunSpec("er", ("t1", "t2"))
    same = plan(spec)
    assert plan(spec).identity == same.identity
    others = [
        plan(spec, seed=1),
        plan(spec, "smoke"),
        plan(spec, recipe="paper"),
        plan(RunSpec("er_scale", ("t1", "t2"))),
        plan(RunSpec("er", ("t1", "flair"))),
        plan(spec, cohort=replace(COHORT, digests={None: "bb"})),
    ]
    assert len({run.identity for run in [same, *others]}) == 7


def test_where_the_files_lie_does_not_matter():
    spec = RunSpec("er", ("t1", "t2"))
    assert plan(spec, cohort=replace(COHORT, dataset_dir=Path("elsewhere"))).identity == plan(spec).identity


def test_a_method_is_merged_over_recipe_and_network():
    run = plan(RunSpec("er_scale", ("t1", "t2"), "deeplabv3", early_fusion=True), recipe="paper")
    assert run.overlays == (
        *("dataset_paper", "network_paper", "network_deeplabv3", "network_early_fusion"),
        *("method_paper", "method_er_scale"),
    )
    assert run.config["early_fusion"] is True
    assert run.config["warps"]["kinds"] == ["scale"]
    assert run.config["branch"]["_target_"] == "bundle.networks.CamDeepLabV3"


def test_full_supervision_has_one_readout_and_the_others_two():
    assert list(plan(RunSpec("supervised", FOUR)).readouts) == ["cam"]
    assert list(plan(RunSpec(PROPOSED, FOUR)).readouts) == ["cam", "gradcampp"]


def test_the_papers_pairs_are_fused_beside_all_branches():
    groups = plan(RunSpec("cam", FOUR)).evaluation["also_fuse"]
    assert groups == ["t1-t2", "t1-flair", "t1c-t2", "t1c-flair"]
    assert plan(RunSpec("cam", ("t1", "t2"))).evaluation["also_fuse"] == []
    assert plan(RunSpec("cam", FOUR, early_fusion=True)).evaluation["also_fuse"] == []


def test_unknown_methods_networks_and_recipes_are_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"method 'er_scal' is unknown .*; did you mean er_scale\?"):
        plan(RunSpec("er_scal", FOUR))
    with pytest.raises(ValueError, match=r"network 'deeplab' is unknown .*; did you mean deeplabv3\?"):
        plan(RunSpec("er", FOUR, "deeplab"))
    with pytest.raises(ValueError, match=r"--recipe 'papers' is unknown; did you mean paper\?"):
        plan(RunSpec("er", FOUR), recipe="papers")


def test_the_papers_scale_is_the_papers_protocol():
    brain = plan(RunSpec(PROPOSED, FOUR), "paper").config
    assert (brain["width"], brain["levels"], brain["head_channels"]) == (64, 3, 2)
    assert (brain["epochs"], brain["ramp_epochs"], brain["batch_size"]) == (30, 15, 16)
    assert (brain["learning_rate"], brain["weight_decay"]) == (5e-5, 0.1)
    assert SCALES["paper"].phantom["brain"].spatial_size == 240
    prostate = plan(RunSpec(PROPOSED, ("t2", "adc")), "paper", anatomy="prostate").config
    assert (prostate["width"], prostate["epochs"], prostate["learning_rate"]) == (16, 100, 1e-4)
    assert SCALES["paper"].phantom["prostate"].spatial_size == 256
    deeplab = plan(RunSpec(PROPOSED, ("t1", "t2"), "deeplabv3"), "paper").config
    assert (deeplab["width"], deeplab["head_channels"]) == (64, 2)


def test_what_a_network_or_method_is_about_is_not_overridden_by_the_scale():
    assert plan(RunSpec(PROPOSED, FOUR), "smoke").config["levels"] == 1
    assert plan(RunSpec(PROPOSED, FOUR, "unet3"), "smoke").config["levels"] == 3
    assert plan(RunSpec("er_scale", FOUR), "small", recipe="paper").config["epochs"] == 4  # the recipe's is


def test_imagenet_weights_count_by_their_content(tmp_path):
    spec = RunSpec("er", ("t1", "t2"), "deeplabv3")
    one, same, other = (tmp_path / name for name in ("one.pth", "same.pth", "other.pth"))
    for file, content in ((one, b"1"), (same, b"1"), (other, b"2")):
        file.write_bytes(content)
    made = plan(spec, imagenet_weights=one)
    assert made.training["imagenet_weights"] == str(one)
    assert plan(spec, imagenet_weights=same).identity == made.identity
    assert len({made.identity, plan(spec, imagenet_weights=other).identity, plan(spec).identity}) == 3
    unet = RunSpec("er", ("t1", "t2"))
    assert plan(unet, imagenet_weights=one).identity == plan(unet).identity
    with pytest.raises(FileNotFoundError, match=r"--imagenet_weights .*: found no such file"):
        plan(spec, imagenet_weights=tmp_path / "none.pth")
