"""Which number format the network computes in."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def resolve_precision(device: torch.device | str, precision: str) -> str:
    """Turn ``auto`` into what the device computes fast: bfloat16 where it is native, float16 on other GPUs.

    bfloat16 has the range of float32 and needs no loss scaling; float16 does, and train.yaml then switches on the
    trainer's own. Elsewhere ``auto`` is ``float32``.

    Raises:
        ValueError: for a name that is not one of these, and for float16 without a GPU.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    kind = torch.device(device).type
    if precision == "float16" and kind != "cuda":
        raise ValueError(
            f"precision float16: expected a CUDA device, got {device}; use bfloat16, float32 or auto"
        )
    if precision != "auto":
        return precision
    if kind == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if kind == "cpu" and cpu_capabilities().get("avx512_bf16") else "float32"


def cpu_capabilities() -> dict[str, Any]:
    """What torch tells of the processor; nothing where it is too old to tell (seen with torch 2.8)."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    return {} if ask is None else ask()


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which the network runs."""
    resolved = resolve_precision(device, precision)
    if resolved == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, resolved))
