"""Self-training by two processes: each drops modalities of its own, and a killed run goes on as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.end_to_end.test_resuming import assert_same_run
from tests.end_to_end.test_resuming_selftrain import SMALL, write_map
from tests.end_to_end.test_two_processes import finish, last, start
from tests.running import make_raw, prepare

CONFIG = "['configs/train_selftrain.yaml','configs/run_multi_gpu.yaml']"
CONSTANT = {"_target_": "torch.optim.lr_scheduler.ConstantLR", "optimizer": "@optimizer", "factor": 1.0}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Two epochs at once, and one epoch followed by a second in another launch."""
    folder = tmp_path_factory.mktemp("selftrain")
    dataset_dir = prepare(make_raw(folder / "raw"), folder / "prepared", spatial_size=32)
    (folder / "maps").mkdir()
    for case in ("001", "002"):
        write_map(dataset_dir, folder / "maps", case, rows=slice(5, 10))
    options = {**SMALL, "epoch_slices": 16, "ema_momentum": 0.1, "labels_dir": folder / "maps"}
    del options["epochs"]
    options["lr_scheduler"] = CONSTANT  # which does not span the epochs
    whole, halves = folder / "whole", folder / "halves"
    processes = [start(dataset_dir, path, n, CONFIG, **options) for path, n in ((whole, 2), (halves, 1))]
    for process in processes:
        finish(process)
    saved = last(halves)
    saved["settings"]["epochs"] = 2  # as if the run had been killed after one of two
    torch.save(saved, halves / "checkpoints" / "last.pt")
    assert "going on from" in finish(start(dataset_dir, halves, 2, CONFIG, **options))
    return {"whole": whole, "halves": halves}


def test_each_process_draws_its_own_changes(runs):
    first, second = last(runs["whole"])["random_by_rank"]
    assert not torch.equal(first["cpu"], second["cpu"])  # which modalities go, and the intensities


def test_a_resumed_self_training_ends_as_an_undisturbed_one(runs):
    assert_same_run(runs["halves"], runs["whole"])


def test_the_running_mean_is_what_is_kept(runs):
    saved = last(runs["whole"])
    weights = torch.load(runs["whole"] / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(weights[name], saved["network"][name]) for name in weights)
    assert any(not torch.equal(weights[name], saved["averaged"]["network"][name]) for name in weights)
