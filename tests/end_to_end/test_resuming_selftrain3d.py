"""A killed self-training in three dimensions goes on, bit for bit: the same patches, turned and changed alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Events

from tests.end_to_end.test_resuming import PowerCut, assert_same_run, differ
from tests.end_to_end.test_resuming_selftrain import write_map
from tests.running import make_raw, prepare, root_cause, workflow

SMALL = {
    **{"modalities": ("flair", "t1c"), "precision": "float32", "patch_size": [16, 16, 8]},
    **{"epochs": 3, "epoch_slices": 6},
}


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("selftrain3d")
    dataset_dir = prepare(make_raw(folder / "raw"), folder / "prepared", spatial_size=24)
    (folder / "maps").mkdir()
    for case in ("001", "002"):
        write_map(dataset_dir, folder / "maps", case, rows=slice(5, 10))
    return {**SMALL, "dataset_dir": str(dataset_dir), "labels_dir": str(folder / "maps")}


def train(given: dict, output_dir: Path, cut_in_epoch: int = 0, **options) -> None:
    """`cut_in_epoch` ends it after a step of that epoch."""
    overlays = ("train_selftrain", "network_selftrain3d")
    made = workflow(*overlays, **{**given, **options}, output_dir=str(output_dir))

    def cut(engine):
        if engine.state.epoch == cut_in_epoch:
            raise PowerCut

    if not cut_in_epoch:
        made.run()
        return
    made.parser.get_parsed_content("train#trainer").add_event_handler(Events.ITERATION_COMPLETED, cut)
    with pytest.raises(RuntimeError) as error:
        made.run()
    assert isinstance(root_cause(error.value), PowerCut)


@pytest.fixture(scope="module")
def undisturbed(given, tmp_path_factory) -> Path:
    output_dir = tmp_path_factory.mktemp("undisturbed")
    train(given, output_dir)
    return output_dir


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_an_interrupted_training_on_patches_ends_as_an_undisturbed_one(epoch, undisturbed, given, tmp_path):
    train(given, tmp_path, cut_in_epoch=epoch)
    torch.rand(7)  # whatever happens in between
    train(given, tmp_path)
    assert_same_run(tmp_path, undisturbed)


@pytest.mark.parametrize("options", [{"geometry": None}, {"augmentation": None}, {"seed": 1}], ids=str)
def test_what_is_drawn_matters_to_patches(options, undisturbed, given, tmp_path):
    train(given, tmp_path, **options)
    assert differ(tmp_path, undisturbed)


def test_another_number_of_patches_is_refused_on_resuming(given, tmp_path):
    train(given, tmp_path)
    with pytest.raises(RuntimeError) as error:
        train(given, tmp_path, epoch_slices=8)
    assert "other settings (epoch_slices differ)" in str(root_cause(error.value))
