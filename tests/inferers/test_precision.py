"""Which number format the network computes in."""

from __future__ import annotations

import pytest
import torch

from bundle.inferers import resolve_precision
from bundle.inferers.precision import autocast

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_asked_for_is_used(precision):
    assert resolve_precision("cpu", precision) == precision


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_takes_bfloat16_only_where_the_processor_computes_it(monkeypatch, native, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native}, raising=False)
    assert resolve_precision(CPU, "auto") == expected


def test_auto_is_float32_where_torch_is_too_old_to_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve_precision(CPU, "auto") == "float32"


def test_float32_changes_nothing_and_bfloat16_casts_what_the_network_computes():
    layer, image = torch.nn.Conv2d(1, 1, 1), torch.randn(1, 1, 4, 4)
    with autocast(CPU, "float32"):
        assert layer(image).dtype == torch.float32
    with autocast(CPU, "bfloat16"):
        assert layer(image).dtype == torch.bfloat16


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="expected one of auto, float32, bfloat16, float16, got 'fp8'"):
        resolve_precision("cpu", "fp8")
