"""From scans, however they are stored, to masks on the scan's own grid."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.conftest import MODALITIES, make_scan
from tests.running import READING, SIZE, flags, root_cause, run_here, run_typed

CASES = ("001", "002", "003", "004")


def predict(checkpoint: str, output_dir: Path, **options) -> dict[str, nib.Nifti1Image]:
    """Run inference here; the fused masks by case."""
    given = {**READING, "checkpoint": checkpoint, "output_dir": str(output_dir), **options}
    run_here("inference", **given)
    return read_masks(output_dir)


def read_masks(output_dir: Path) -> dict[str, nib.Nifti1Image]:
    return {path.name.split(".")[0]: nib.load(path) for path in (output_dir / "masks").glob("*.nii.gz")}


def voxels(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj)


@pytest.fixture(scope="module")
def expected(dataset_dir, checkpoint, tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """All that inference writes for the prepared data set."""
    folder = tmp_path_factory.mktemp("expected")
    options = {"split": "all", "save_also": "masks,cams,probabilities"}
    masks = predict(checkpoint, folder, dataset_dir=str(dataset_dir), **options)
    return folder, {case: voxels(mask) for case, mask in masks.items()}


def assert_equal_masks(found: dict[str, nib.Nifti1Image], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for case, mask in found.items():
        assert np.array_equal(voxels(mask), expected[case]), case


def test_masks_are_uint8_on_the_scans_own_grid_and_show_the_lesion(expected, raw):
    folder, _ = expected
    masks = read_masks(folder)
    assert tuple(sorted(masks)) == CASES
    for case, mask in masks.items():
        scan = nib.load(raw / case / f"{case}_flair.nii.gz")
        assert mask.get_data_dtype() == np.uint8
        assert mask.shape == scan.shape
        assert np.array_equal(mask.affine, scan.affine)
        assert set(np.unique(voxels(mask))) == {0, 1}
        truth = voxels(nib.load(raw / case / f"{case}_seg.nii.gz")) > 0
        # Forty short epochs find all of its 60 voxels, and 50 of the 2,820 others: a voxel around it.
        assert (voxels(mask)[truth] == 1).mean() > 0.5 > 10 * (voxels(mask)[~truth] == 1).mean(), case


def test_by_default_only_the_fused_mask_and_a_picture_are_written(dataset_dir, checkpoint, tmp_path):
    predict(checkpoint, tmp_path, dataset_dir=str(dataset_dir))
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"masks/004.nii.gz", "predictions.png"}


def test_maps_at_the_threshold_are_the_masks(expected):
    folder, masks = expected
    for case in CASES:
        cams = {name: nib.load(folder / "cams" / name / f"{case}.nii.gz") for name in (*MODALITIES, "fused")}
        assert all(cam.get_data_dtype() == np.float32 for cam in cams.values())
        assert np.array_equal(voxels(cams["fused"]) > 0.5, masks[case] == 1)
        for name in MODALITIES:
            mask = nib.load(folder / "masks" / name / f"{case}.nii.gz")
            assert mask.get_data_dtype() == np.uint8
            assert np.array_equal(voxels(cams[name]) > 0.5, voxels(mask) == 1)


def test_probabilities_have_a_row_a_slice_and_a_column_a_modality(expected):
    for case in CASES:
        with (expected[0] / "probabilities" / f"{case}.csv").open(newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0] == ["slice", *MODALITIES]
        assert [row[0] for row in rows[1:]] == [str(number) for number in range(6)]
        assert all(0 <= float(value) <= 1 for row in rows[1:] for value in row[1:])


def test_a_raw_brats_folder_gives_the_masks_of_the_prepared_one(expected, raw, checkpoint, tmp_path):
    assert_equal_masks(predict(checkpoint, tmp_path, dataset_dir=str(raw)), expected[1])


def test_patterns_give_the_same_masks_on_the_command_line(expected, raw, checkpoint, tmp_path):
    scans = tmp_path / "scans"
    for case in CASES:
        for modality in MODALITIES:
            (scans / modality).mkdir(parents=True, exist_ok=True)
            shutil.copy(raw / case / f"{case}_{modality}.nii.gz", scans / modality / f"patient{case}.nii.gz")
    patterns = "{flair: 'flair/patient{case}.nii.gz', t1c: 't1c/patient{case}.nii.gz'}"
    options = flags(
        **READING, checkpoint=checkpoint, dataset_dir=scans, output_dir=tmp_path, patterns=patterns
    )
    run = run_typed("run", "--config_file", "configs/inference.yaml", *options)
    assert run.returncode == 0, run.stderr
    assert_equal_masks(read_masks(tmp_path), expected[1])


def test_a_datalist_gives_the_same_masks(expected, raw, checkpoint, tmp_path):
    entries = [
        {"image": [str(raw / case / f"{case}_{m}.nii.gz") for m in MODALITIES], "case": case}
        for case in CASES
    ]
    (tmp_path / "cases.json").write_text(json.dumps(entries))
    found = predict(checkpoint, tmp_path, datalist=str(tmp_path / "cases.json"))
    assert_equal_masks(found, expected[1])


def test_one_4d_file_a_case_gives_the_same_masks(expected, raw, checkpoint, tmp_path):
    for case in CASES:
        scans = [nib.load(raw / case / f"{case}_{modality}.nii.gz") for modality in MODALITIES]
        stacked = nib.Nifti1Image(np.stack([voxels(scan) for scan in scans], axis=-1), scans[0].affine)
        (tmp_path / "scans").mkdir(exist_ok=True)
        nib.save(stacked, tmp_path / "scans" / f"{case}.nii.gz")
    found = predict(checkpoint, tmp_path / "run", dataset_dir=str(tmp_path / "scans"))
    assert_equal_masks(found, expected[1])


def test_the_last_checkpoint_serves_as_well(trained, raw, tmp_path):
    found = predict(str(trained / "checkpoints" / "last.pt"), tmp_path, dataset_dir=str(raw))
    assert tuple(sorted(found)) == CASES


def oblique_affine() -> np.ndarray:
    """Axes swapped and one reversed, 3 mm slices, tilted by 20 degrees."""
    angle = np.deg2rad(20)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    axes = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]) @ np.diag([1.0, 1.0, 3.0])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = tilt @ axes, (12.5, -30.25, 7.0)
    return affine


@pytest.mark.parametrize(
    "affine",
    [np.diag([-1.0, -1.0, 3.0, 1.0]), np.diag([1.0, 1.0, -3.0, 1.0]), oblique_affine()],
    ids=["LPS", "RAI", "oblique"],
)
def test_masks_lie_on_the_lesion_whatever_the_orientation(affine, checkpoint, tmp_path):
    images, truth = make_scan(4)
    folder = tmp_path / "scans"
    folder.mkdir()
    for modality, image in images.items():
        nib.save(nib.Nifti1Image(image, affine), folder / f"004_{modality}.nii.gz")
    mask = predict(checkpoint, tmp_path, dataset_dir=str(folder))["004"]
    scan = nib.load(folder / "004_flair.nii.gz")
    assert mask.shape == scan.shape
    assert np.array_equal(mask.affine, scan.affine)
    hit = (voxels(mask) == 1) & (truth == 1)
    assert 2 * hit.sum() / (voxels(mask).sum() + truth.sum()) > 0.5


@pytest.mark.parametrize("method", ["GradCamInferer", "GradCamPlusPlusInferer"])
def test_gradient_maps_make_masks_as_well(method, raw, checkpoint, tmp_path):
    found = predict(checkpoint, tmp_path, dataset_dir=str(raw), method=f"bundle.inferers.{method}")
    assert tuple(sorted(found)) == CASES


def test_a_missing_checkpoint_is_named(dataset_dir, tmp_path):
    with pytest.raises(RuntimeError) as error:
        predict(str(tmp_path / "none.pt"), tmp_path, dataset_dir=str(dataset_dir))
    assert isinstance(root_cause(error.value), FileNotFoundError)
    assert "none.pt does not exist; train first" in str(root_cause(error.value))


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"modalities": ("t1c", "flair")}, "modalities was ['flair', 't1c'], is ['t1c', 'flair']"),
        ({"modalities": "flair"}, "modalities was ['flair', 't1c'], is flair"),
        ({"width": 3}, "width was 2, is 3"),
        ({"spatial_size": 24}, "spatial_size was 16, is 24"),
    ],
)
@pytest.mark.parametrize("file", ["models/model.pt", "checkpoints/last.pt"])
def test_a_network_trained_otherwise_is_refused(changed, found, file, raw, trained, tmp_path):
    with pytest.raises(RuntimeError) as error:
        predict(str(trained / file), tmp_path, dataset_dir=str(raw), **changed)
    assert isinstance(root_cause(error.value), ValueError)
    assert found in str(root_cause(error.value))


def test_weights_of_another_network_without_a_record_are_refused(raw, checkpoint, tmp_path):
    shutil.copy(checkpoint, tmp_path / "alone.pt")
    with pytest.raises(RuntimeError, match="evaluat") as error:
        predict(str(tmp_path / "alone.pt"), tmp_path, dataset_dir=str(raw), width=3)
    assert "does not fit the network" in str(error.value.__cause__)


def test_the_papers_recipe_runs_to_the_end(dataset_dir, tmp_path):
    recipe = ("dataset_paper", "network_paper", "method_paper")
    where = {"dataset_dir": str(dataset_dir), "output_dir": str(tmp_path)}
    run_here("train", *recipe, **{**SIZE, **where, "epochs": 2})
    run_here("inference", *recipe, **SIZE, **where)
    run_here("evaluate", *recipe, **SIZE, **where)
    weights = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert weights["branches.0.evidence.weight"].shape[0] == 2
    assert (tmp_path / "masks" / "004.nii.gz").is_file()
    assert (tmp_path / "metrics.csv").is_file()
