"""A killed self-training goes on, bit for bit: the modalities it drops and the intensities it changes as well."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Events

from bundle.data import PreparedCase
from tests.end_to_end.test_resuming import PowerCut, assert_same_run, differ
from tests.running import make_raw, prepare, root_cause, workflow

SMALL = {
    **{"modalities": ("flair", "t1c"), "width": 2, "precision": "float32"},
    **{"batch_size": 4, "epochs": 3, "epoch_slices": 24},
}


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> dict[str, str]:
    """The cohort at 32 x 32 pixels and maps of its training cases."""
    folder = tmp_path_factory.mktemp("selftrain")
    dataset_dir = prepare(make_raw(folder / "raw"), folder / "prepared", spatial_size=32)
    (folder / "maps").mkdir()
    for case in ("001", "002"):
        write_map(dataset_dir, folder / "maps", case, rows=slice(5, 10))
    return {**SMALL, "dataset_dir": str(dataset_dir), "labels_dir": str(folder / "maps")}


def write_map(dataset_dir: Path, folder: Path, case: str, rows: slice) -> None:
    geometry = PreparedCase.open(dataset_dir / "cases" / case).geometry
    cam = np.zeros(geometry.shape, dtype=np.float32)
    cam[rows, 6:12, 2:4] = 0.9
    nib.save(nib.Nifti1Image(cam, geometry.affine), folder / f"{case}.nii.gz")


def train(given: dict, output_dir: Path, cut_in_epoch: int = 0, **options) -> None:
    """`cut_in_epoch` ends it after a step of that epoch."""
    made = workflow("train_selftrain", **given, output_dir=str(output_dir), **options)

    def cut(engine):
        if engine.state.epoch == cut_in_epoch:
            raise PowerCut

    if not cut_in_epoch:
        made.run()
        return
    trainer = made.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.ITERATION_COMPLETED, cut)
    with pytest.raises(RuntimeError) as error:
        made.run()
    assert isinstance(root_cause(error.value), PowerCut)


@pytest.fixture(scope="module")
def undisturbed(given, tmp_path_factory) -> Path:
    output_dir = tmp_path_factory.mktemp("undisturbed")
    train(given, output_dir)
    return output_dir


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_an_interrupted_self_training_ends_as_an_undisturbed_one(epoch, undisturbed, given, tmp_path):
    train(given, tmp_path, cut_in_epoch=epoch)
    torch.rand(7)  # whatever happens in between
    train(given, tmp_path)
    assert_same_run(tmp_path, undisturbed)


def test_what_is_drawn_matters(undisturbed, given, tmp_path):
    train(given, tmp_path / "without", augmentation=None)
    train(given, tmp_path / "undropped", **{"wrap#drop_prob": 0.0})
    train(given, tmp_path / "other", seed=1)
    assert differ(tmp_path / "without", undisturbed)
    assert differ(tmp_path / "undropped", undisturbed)
    assert differ(tmp_path / "other", undisturbed)


def test_true_masks_do_not_matter_and_maps_do(undisturbed, given, tmp_path):
    dataset_dir = Path(given["dataset_dir"])
    masks = {mask: mask.read_bytes() for mask in (dataset_dir / "masks").glob("*.nii.gz")}
    for mask in masks:
        mask.unlink()
    train(given, tmp_path / "same")
    for mask, content in masks.items():
        mask.write_bytes(content)
    assert_same_run(tmp_path / "same", undisturbed)
    (tmp_path / "maps").mkdir()
    for case in ("001", "002"):
        write_map(dataset_dir, tmp_path / "maps", case, rows=slice(10, 15))
    train({**given, "labels_dir": str(tmp_path / "maps")}, tmp_path / "other")
    assert differ(tmp_path / "other", undisturbed)


def test_other_maps_in_the_same_folder_are_refused_on_resuming(given, tmp_path):
    (tmp_path / "maps").mkdir()
    for case in ("001", "002"):
        write_map(Path(given["dataset_dir"]), tmp_path / "maps", case, rows=slice(5, 10))
    own = {**given, "labels_dir": str(tmp_path / "maps")}
    train(own, tmp_path / "run")
    write_map(Path(given["dataset_dir"]), tmp_path / "maps", "002", rows=slice(5, 11))
    with pytest.raises(RuntimeError) as error:
        train(own, tmp_path / "run")
    assert "other settings (pseudo_labels differ)" in str(root_cause(error.value))
