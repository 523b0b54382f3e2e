"""A training from the command line starts from weights, and a second call goes on from its own checkpoint."""

from __future__ import annotations

import torch

from tests.conftest import MODALITIES
from tests.running import TRAINING, run_here


def test_a_training_starts_there_and_goes_on_from_its_own_checkpoint(dataset_dir, tmp_path):
    epochs = {**TRAINING, "epochs": 1, "dataset_dir": str(dataset_dir)}
    run_here("train", **epochs, output_dir=str(tmp_path / "first"))
    weights = tmp_path / "first" / "models" / "model.pt"
    frozen = {**epochs, "learning_rate": 0.0, "weight_decay": 0.0, "pretrained": str(weights)}
    turned = {**frozen, "modalities": list(MODALITIES[::-1]), "output_dir": str(tmp_path / "second")}
    for _ in range(2):  # the second time from checkpoints/last.pt, with nothing left to do
        run_here("train", "run_pretrained", **turned)
        first, second = (torch.load(tmp_path / r / "models" / "model.pt") for r in ("first", "second"))
        parameters = [name for name in first if name.startswith("branches.0.") and "weight" in name]
        assert parameters
        for name in parameters:
            assert torch.equal(
                first[name], second[name.replace("branches.0.", f"branches.{len(MODALITIES) - 1}.")]
            )
