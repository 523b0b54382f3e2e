"""Masks are decided in one place of the configs, before any true mask is read."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from bundle.data import LoadTruthd
from bundle.refinement import MaskMapsd, RandomWalkd
from tests.running import merged, root_cause, run_here

SMALL = {"modalities": "flair,t1c", "width": 2, "levels": 1, "precision": "float32"}
RANDOM_WALK = {"_target_": "bundle.refinement.RandomWalkd", "band_mm": 3.0}


def parsed(complete: str, dataset_dir: Path, **options):
    return merged(complete, **SMALL, dataset_dir=str(dataset_dir), **options)


def case_of(parser) -> dict:
    """The first test case with the maps of an untrained network, as the evaluator hands it to the postprocessing."""
    torch.manual_seed(0)
    item = parser.get_parsed_content("dataset")[0]
    item["geometry"] = json.dumps(item["geometry"].to_dict())
    inferer, network = parser.get_parsed_content("inferer"), parser.get_parsed_content("network").eval()
    pred = inferer(item["image"][None], network, foreground=item["foreground"][None])
    return {**item, "pred": {name: value[0] for name, value in pred.items()}}


@pytest.mark.parametrize(
    "recipe", [("network_unet2", "method_proposed"), ("dataset_paper", "network_paper", "method_paper")]
)
def test_in_the_papers_recipes_masks_are_where_the_untouched_maps_exceed_a_half(recipe, dataset_dir):
    parser = merged("evaluate", *recipe, **SMALL, dataset_dir=str(dataset_dir))
    fuse, restore, *_ = parser.get_parsed_content("postprocessing").transforms
    given = case_of(parser)
    given["pred"]["cam"] = torch.rand(given["pred"]["cam"].shape)
    done, before = parser.get_parsed_content("postprocessing")(given), restore(fuse(given))
    assert torch.equal(done["cams"], before["cams"])
    assert torch.equal(done["masks"], (before["cams"] > 0.5).byte())
    assert done["masks"].any()


@pytest.mark.parametrize("complete", ["inference", "evaluate"])
def test_masks_are_decided_before_the_truth_is_read(complete, dataset_dir, tmp_path):
    parser = parsed(complete, dataset_dir, output_dir=str(tmp_path))
    kinds = [type(step) for step in parser.get_parsed_content("postprocessing").flatten().transforms]
    assert kinds.count(MaskMapsd) == 1
    if LoadTruthd in kinds:
        assert kinds.index(MaskMapsd) < kinds.index(LoadTruthd)


def test_the_truth_moves_no_mask(dataset_dir):
    options = {"threshold": "variance", "refine": RANDOM_WALK, "min_volume_mm3": 20.0, "fill_holes": True}
    parser = parsed("evaluate", dataset_dir, **options)
    given = case_of(parser)
    done = parser.get_parsed_content("postprocessing")(given)
    without = parser.get_parsed_content("postprocessing")({**given, "truth": ""})
    assert torch.equal(done["masks"], without["masks"])
    assert torch.equal(done["cams"], without["cams"])


def test_a_refinement_is_a_transform_of_the_maps(dataset_dir):
    parser = parsed("evaluate", dataset_dir, refine=RANDOM_WALK)
    steps = parser.get_parsed_content("postprocessing").flatten().transforms
    assert any(isinstance(step, RandomWalkd) for step in steps)


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": "otsu"},
        {"threshold": "mixture"},
        {"threshold": {"_target_": "bundle.refinement.OtsuThreshold", "floor": 0.1}},
        {"smooth_slices_mm": 3.0, "smooth_plane_mm": 1.0},
        {"average_views": "flip,rotate,0.9"},
        {"average_views": ["flip", 1.1]},
        {"threshold": 0.3, "min_volume_mm3": 30, "fill_holes": True, "refine": RANDOM_WALK},
    ],
    ids=str,
)
def test_every_part_can_be_switched_on(options, dataset_dir):
    parser = parsed("evaluate", dataset_dir, **options)
    done = parser.get_parsed_content("postprocessing")(case_of(parser))
    assert done["masks"].shape == done["cams"].shape
    assert 0 <= done["cams"].min() <= done["cams"].max() <= 1


def test_files_and_reports_hold_the_same_masks_and_name_the_rule(dataset_dir, tmp_path):
    where = {"dataset_dir": str(dataset_dir), "output_dir": str(tmp_path)}
    run_here("train", **SMALL, **where, batch_size=4, epochs=1)
    how = {"threshold": "otsu", "min_volume_mm3": 20, "fill_holes": True, "refine#peak": 0.5}
    run_here("inference", **SMALL, **where, **how)
    run_here("evaluate", **SMALL, **where, **how)
    mask = nib.load(tmp_path / "masks" / "004.nii.gz")
    comment, *_ = lines = (tmp_path / "metrics.csv").read_text().splitlines()
    rule = "threshold of each map (otsu), components below 20 mm3 removed, holes filled"
    assert comment.startswith(
        "# Mask: maps smoothed 3 mm across slices, fused map's border found anew by the intensities within 20 mm"
    )
    assert comment.endswith(f"cam > {rule}.")
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    (fused,) = [row for row in rows if row["map"] == "fused"]
    voxel_ml = np.prod(mask.header.get_zooms()) / 1000
    assert float(fused["prediction_ml"]) == pytest.approx(np.count_nonzero(mask.dataobj) * voxel_ml)
    assert json.loads((tmp_path / "summary.json").read_text())["threshold"] == "otsu"


def test_an_unknown_rule_stops_the_run(dataset_dir, tmp_path):
    with pytest.raises(RuntimeError) as error:
        parsed("inference", dataset_dir, output_dir=str(tmp_path), threshold="mixtur").get_parsed_content(
            "masking"
        )
    assert "did you mean mixture?" in str(root_cause(error.value))
