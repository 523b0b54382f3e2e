"""One training step, ours against the plain reference."""

from __future__ import annotations

import copy
import statistics
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from bundle.inferers import TwoViewInferer
from bundle.inferers.precision import resolve_precision
from bundle.losses import JointLoss
from scripts.benchmarks.configured import configured
from scripts.benchmarks.data_wait import measure_data_wait
from scripts.benchmarks.in_turn import median_ratio, time_in_turn
from scripts.benchmarks.options import BenchmarkOptions
from scripts.benchmarks.peak_memory import peak_mib
from scripts.benchmarks.plain_reference import PlainReference


@dataclass
class JointStep:
    """Our step: what the stock trainer does with the parts of configs/train.yaml."""

    network: nn.Module
    inferer: TwoViewInferer
    loss: JointLoss
    optimizer: torch.optim.Optimizer

    def step(self, image: torch.Tensor, foreground: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
        """One training step; returns the loss, detached."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.inferer(image, self.network, foreground=foreground), tags)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def make_steps(
    options: BenchmarkOptions, dtype: torch.dtype = torch.float32, **changes: Any
) -> tuple[JointStep, PlainReference]:
    """Ours and the plain one, with equal weights and equal draws.

    Args:
        options: shapes.
        dtype: of the weights.
        changes: ids of configs/train.yaml for ours; by default it computes in float32.
    """
    torch.manual_seed(0)
    names = options.names(options.step_modalities)
    changes = {"precision": "float32", "device": "$torch.device('cpu')", **changes}
    parser = configured("train.yaml", options, names, **changes)
    network = parser.get_parsed_content("network").to(dtype).train()
    inferer, loss = parser.get_parsed_content("train#inferer"), parser.get_parsed_content("loss")
    optimizer = parser.get_parsed_content("optimizer")
    plain = PlainReference(
        [copy.deepcopy(branch).to(memory_format=torch.contiguous_format) for branch in network.branches],
        inferer.reader,
        copy.deepcopy(inferer.policy),
        loss.weights,
        loss.terms["kd"].temperature,
        partial(torch.optim.AdamW, **{key: optimizer.defaults[key] for key in ("lr", "weight_decay")}),
    )
    return JointStep(network, inferer, loss, optimizer), plain


def make_batch(
    options: BenchmarkOptions, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noise in a square foreground that fills half of a slice, brighter at one place where it is tagged."""
    generator = torch.Generator().manual_seed(0)
    shape = (options.batch_size, options.step_modalities, options.size, options.size)
    image = torch.randn(shape, generator=generator, dtype=dtype)
    edge, lesion = round(0.15 * options.size), slice(round(0.4 * options.size), round(0.6 * options.size))
    image[1::2, :, lesion, lesion] += 2
    foreground = torch.zeros_like(image[:, :1])
    foreground[..., edge:-edge, edge:-edge] = 1
    return image * foreground, foreground, (torch.arange(options.batch_size) % 2).to(dtype)


def measure_step(options: BenchmarkOptions) -> dict[str, Any]:
    """``ratio`` is plain / ours in float32 (target 1.3), ``ratio_bfloat16`` plain in float32 / ours in
    bfloat16 (target 2, where the device computes it natively), ``views_in_one_batch_gain`` what one float32
    pass for both views gains on top, which changes batch statistics and is off by default. Peak memory is
    that of a process that takes two steps. The waiting for data is measured in a run of the trainer itself.
    """
    batch = make_batch(options)
    ours, plain = make_steps(options)
    variants: dict[str, JointStep | PlainReference] = {"plain": plain, "float32": ours}
    variants["one_batch"] = make_steps(options, views_in_one_batch=True)[0]
    if resolve_precision("cpu", "auto") == "bfloat16":
        variants["bfloat16"] = make_steps(options, precision="bfloat16")[0]
    seconds = time_in_turn(
        {n: partial(v.step, *batch) for n, v in variants.items()}, options.rounds, warm_up=2
    )
    found: dict[str, Any] = {
        "ratio": median_ratio(seconds["plain"], seconds["float32"]),
        "views_in_one_batch_gain": median_ratio(seconds["float32"], seconds["one_batch"]),
    }
    if "bfloat16" in seconds:
        found["ratio_bfloat16"] = median_ratio(seconds["plain"], seconds["bfloat16"])
    found |= {f"{name}_seconds": statistics.median(values) for name, values in seconds.items()}
    found["peak_mib"] = peak_mib(_two_steps, options, False)
    found["plain_peak_mib"] = peak_mib(_two_steps, options, True)
    shape = {"modalities": options.step_modalities, "batch_size": options.batch_size, "size": options.size}
    return {**found, **measure_data_wait(options), **shape}


def _two_steps(options: BenchmarkOptions, plain: bool) -> None:
    stepper, batch = make_steps(options)[plain], make_batch(options)
    for _ in range(2):
        stepper.step(*batch)
