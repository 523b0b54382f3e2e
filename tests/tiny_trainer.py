"""A stock trainer on a few made-up slices, put together as the training config does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.data import DataLoader, Dataset, DistributedSampler
from monai.engines import PrepareBatchExtraInput, SupervisedEvaluator, SupervisedTrainer

from bundle.equivariance import WarpPolicy
from bundle.handlers import TagCrossEntropy
from bundle.inferers import TagInferer, TwoViewInferer
from bundle.losses import JointLoss
from bundle.networks import BranchEnsemble
from tests.tiny import tiny_loss, tiny_network, tiny_reader, tiny_slices

CPU = torch.device("cpu")
FOREGROUND = PrepareBatchExtraInput(extra_keys={"foreground": "foreground"})


def tiny_dataset(count: int, seed: int = 0) -> Dataset:
    """Slices of two modalities with foreground and tags."""
    image, foreground, tags = tiny_slices(2, count, seed)
    return Dataset(
        [{"image": i, "foreground": f, "label": t} for i, f, t in zip(image, foreground, tags, strict=True)]
    )


def tiny_evaluator(network: BranchEnsemble) -> SupervisedEvaluator:
    """Cross-entropy of held-out tags; 5 slices in batches of 2, so the last one is smaller."""
    return SupervisedEvaluator(
        device=CPU,
        val_data_loader=DataLoader(tiny_dataset(5, seed=9), batch_size=2),
        network=network,
        inferer=TagInferer(tiny_reader()),
        prepare_batch=FOREGROUND,
        key_val_metric={"tag_cross_entropy": TagCrossEntropy()},
        metric_cmp_fn=lambda value, best: value < best,
        decollate=False,
    )


class TinyRun:
    """Everything that a run is made of; ``handlers`` may name more of it, so they are attached afterwards.

    The order of batches depends on seed and epoch alone; dropout makes torch's own random state matter.
    """

    def __init__(self, epochs: int = 4, loss: JointLoss | None = None, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.network = tiny_network(dropout=0.3, seed=seed)
        self.loss = loss or tiny_loss()
        self.inferer = TwoViewInferer(WarpPolicy(), tiny_reader(), seed=seed)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-2)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 4)
        self.evaluator = tiny_evaluator(self.network)
        dataset = tiny_dataset(6)
        sampler = DistributedSampler(dataset, num_replicas=1, rank=0, shuffle=True, seed=seed)
        self.trainer = SupervisedTrainer(
            device=CPU,
            max_epochs=epochs,
            train_data_loader=DataLoader(dataset, batch_size=2, sampler=sampler),
            network=self.network,
            optimizer=self.optimizer,
            loss_function=self.loss,
            inferer=self.inferer,
            prepare_batch=FOREGROUND,
            decollate=False,
        )

    def run(self, handlers: Sequence[Any]) -> TinyRun:
        """Attach and train."""
        for handler in handlers:
            handler.attach(self.trainer)
        self.trainer.run()
        return self
