"""How a process joins a distributed training and leaves it."""

from __future__ import annotations

import os
import time

import torch

GRACE_S = 0.5  # a released worker thread needs a millisecond, on a crowded machine some tens


def join_process_group() -> torch.device:
    """Join the processes that ``torchrun`` started: by nccl, each with a GPU of its own, or by gloo on the CPU.

    Returns:
        The device of this process.

    Raises:
        ValueError: the process was not started by ``torchrun``.
    """
    if "LOCAL_RANK" not in os.environ:
        raise ValueError(
            "several processes: expected to be started by torchrun, found no LOCAL_RANK; begin the command "
            "with torchrun --standalone --nproc_per_node 2 -m monai.bundle, or leave out the config of several GPUs"
        )
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def leave_process_group() -> None:
    """Wait for all ranks, destroy the process group and let its worker threads come to rest.

    ``destroy_process_group`` does not end gloo's threads: other references keep the group until Python shuts down
    (seen with torch 2.13). A thread that lets go of its last tensor at that moment needs Python's lock and aborts the
    process instead ("terminate called without an active exception"), although all work was done: 3 of 60 short
    launches on a busy machine. Sleeping hands the threads the lock.
    """
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    time.sleep(GRACE_S)
