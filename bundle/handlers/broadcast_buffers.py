"""One set of batch statistics for all ranks of a distributed training."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events
from torch import nn


class BroadcastBuffers:
    """Gives every rank the first one's buffers (running means and variances) when an engine starts.

    Attached to the validating engine: all ranks then score the very weights that the first one saves.
    ``DistributedDataParallel`` broadcasts them in each forward pass instead, which fails for two passes with one
    backward, and waits forever where ranks have unequal numbers of batches.

    Args:
        network: whose buffers are shared; wrapped or not.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Listen to the engine's start; every rank must start it."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        if torch.distributed.is_initialized():
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, src=0)
