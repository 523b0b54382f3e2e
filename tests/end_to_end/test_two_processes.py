"""Training by two processes (gloo on CPU): it ends, scores each slice once, leaves one usable checkpoint."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import torch

from bundle.handlers import join_process_group
from tests.conftest import MODALITIES
from tests.end_to_end.test_resuming import assert_same_run
from tests.running import SIZE, TRAINING, flags, make_raw, prepare, run_here, typed, workflow

# 5 slices to train on and 5 to validate on; in validation one rank has two batches, the other one.
SPLITS = {"train": ["001"], "validation": ["002"], "test": ["003", "004"]}
CONFIG = "['configs/train.yaml','configs/method_paper.yaml','configs/run_multi_gpu.yaml']"
OPTIONS = {**TRAINING, "batch_size": 1, "learning_rate": 0.01, "validate#dataloader#batch_size": 2}


def start(
    dataset_dir: Path, output_dir: Path, epochs: int, config: str = CONFIG, **options
) -> subprocess.Popen[str]:
    given = {**(options or OPTIONS), "epochs": epochs, "dataset_dir": dataset_dir, "output_dir": output_dir}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = typed("run", "training", "--config_file", config, *flags(**given), launcher=launcher)
    return subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[str]) -> str:
    try:
        output, _ = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, output[-3000:]
    return output


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("distributed")
    return prepare(make_raw(folder / "raw"), folder / "prepared", SPLITS)


@pytest.fixture(scope="module")
def runs(dataset_dir) -> dict[str, Path]:
    """Two epochs at once, and one epoch followed by a second in another launch."""
    whole, halves = dataset_dir.with_name("whole"), dataset_dir.with_name("halves")
    processes = [start(dataset_dir, whole, 2), start(dataset_dir, halves, 1)]
    for process in processes:
        finish(process)
    # As if two epochs had been asked for and the run killed after one; this recipe's rate does not span the epochs.
    saved = last(halves)
    saved["settings"]["epochs"] = 2
    torch.save(saved, halves / "checkpoints" / "last.pt")
    assert "going on from" in finish(start(dataset_dir, halves, 2))
    return {"whole": whole, "halves": halves}


def last(output_dir: Path) -> dict:
    return torch.load(output_dir / "checkpoints" / "last.pt", weights_only=True)


def test_ranks_take_the_same_number_of_steps(runs):
    trainer = last(runs["whole"])["trainer"]
    assert trainer["epoch_length"] == 3  # 5 slices and one of them again, by twos
    assert trainer["iteration"] == 6


def test_one_rank_writes(runs):
    written = {str(path.relative_to(runs["whole"])) for path in runs["whole"].rglob("*") if path.is_file()}
    events = {name for name in written if name.startswith("tensorboard/events")}
    assert written - events == {"checkpoints/last.pt", "models/model.pt", "models/model.json"}
    processes = {re.search(r"\.(\d+)\.\d+$", name).group(1) for name in events}
    assert len(processes) == 1


def test_weights_are_named_as_those_of_one_process(runs):
    weights = torch.load(runs["whole"] / "models" / "model.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    assert {name.split(".")[0] for name in weights} == {"branches", "trust"}


def test_each_rank_keeps_its_own_random_state(runs):
    first, second = last(runs["whole"])["random_by_rank"]
    assert not torch.equal(first["source"]["keys"], second["source"]["keys"])  # each draws its own warps


def test_validation_counts_each_slice_once(runs, dataset_dir, tmp_path):
    given = {**OPTIONS, "dataset_dir": str(dataset_dir), "output_dir": str(tmp_path)}
    single = workflow("train", "method_paper", **given).parser
    weights = torch.load(runs["whole"] / "models" / "model.pt", weights_only=True)
    single.get_parsed_content("network").load_state_dict(weights)
    evaluator = single.get_parsed_content("validate#evaluator")
    evaluator.run()
    found = evaluator.state.metrics["tag_cross_entropy"]
    assert last(runs["whole"])["best"]["value"] == pytest.approx(found, rel=1e-6)


def test_a_resumed_run_ends_as_an_undisturbed_one(runs):
    assert_same_run(runs["halves"], runs["whole"])


def test_inference_takes_the_checkpoint(runs, dataset_dir, tmp_path):
    checkpoint = str(runs["whole"] / "models" / "model.pt")
    where = {"dataset_dir": str(dataset_dir), "output_dir": str(tmp_path), "checkpoint": checkpoint}
    run_here("inference", "method_paper", **SIZE, **where)
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["003.nii.gz", "004.nii.gz"]


def test_it_goes_with_an_early_stop_and_an_annealed_pooling(dataset_dir, tmp_path):
    parts = ("train", "method_annealed_pooling", "run_multi_gpu", "run_early_stop")
    config = str([f"configs/{name}.yaml" for name in parts])
    options = {**OPTIONS, "patience": 1, "learning_rate": 0.0}
    finish(start(dataset_dir, tmp_path, 2, config, **options))
    trainer = last(tmp_path)["trainer"]
    assert trainer["iteration"] == 2 * trainer["epoch_length"]
    assert len(last(tmp_path)["random_by_rank"]) == 2


def test_without_torchrun_it_says_so(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(ValueError, match="expected to be started by torchrun, found no LOCAL_RANK"):
        join_process_group()


def test_the_modalities_are_those_of_the_cohort():
    assert OPTIONS["modalities"] == MODALITIES
