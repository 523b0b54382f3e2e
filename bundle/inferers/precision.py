"""Which number format the network computes in."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch

PRECISIONS = ("auto", "float32", "bfloat16")


def resolve_precision(device: torch.device | str, precision: str) -> str:
    """Turn ``auto`` into ``bfloat16`` where the device computes it natively, ``float32`` elsewhere.

    bfloat16 has the range of float32, so no loss scaling is needed; float16 would need it and is left to the
    trainer's own ``amp`` switch.

    Raises:
        ValueError: for a name that is not one of ``auto``, ``float32``, ``bfloat16``.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision != "auto":
        return precision
    kind = torch.device(device).type
    if kind == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = kind == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return "bfloat16" if native else "float32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which the network runs."""
    if resolve_precision(device, precision) == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
