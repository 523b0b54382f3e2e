"""ImageNet weights from a local file into a ResNet-50 of any number of input channels."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

STANDARD_WIDTH = 64
_REMEDY = "give the state dict of torchvision's resnet50, or None to start from random weights"


def load_imagenet_weights(trunk: nn.Module, path: str | Path, width: int = STANDARD_WIDTH) -> None:
    """Set a ResNet-50 trunk's weights and batch statistics from torchvision's ``resnet50`` state dict.

    The classifier ``fc`` is ignored. The stem's weights are averaged over RGB and repeated for K input channels,
    times 3 / K, so that a grey picture shown in all K channels gives the response it gave in RGB.

    Args:
        trunk: a network with torchvision's names: ``conv1``, ``bn1``, ``layer1.0.conv1`` ...
        path: local ``.pth`` file; nothing is downloaded.
        width: channels of the trunk's stem, which the published weights fix at 64.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: for another width, or a file that is no state dict or does not fit; names the first key.
    """
    if width != STANDARD_WIDTH:
        raise ValueError(
            f"imagenet weights {path}: expected a network of width {STANDARD_WIDTH}, got {width}; set width to "
            f"{STANDARD_WIDTH}, or the weights to None"
        )
    found = {name: value for name, value in _read(Path(path)).items() if not name.startswith("fc.")}
    own = trunk.state_dict()
    stem = found.get("conv1.weight")
    if stem is not None and stem.ndim == 4 and stem.shape[1] == 3:
        inputs = own["conv1.weight"].shape[1]
        found["conv1.weight"] = stem.mean(1, keepdim=True).repeat(1, inputs, 1, 1) * (3 / inputs)
    _check(own, found, path)
    trunk.load_state_dict({**own, **found})


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"imagenet weights {path}: there is no such file; {_REMEDY}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"imagenet weights {path}: expected a state dict saved by torch, found something that "
            f"torch cannot read; {_REMEDY}"
        ) from error
    if not isinstance(content, Mapping) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        raise ValueError(
            f"imagenet weights {path}: expected a state dict (names to tensors), found "
            f"{_description(content)}; {_REMEDY}"
        )
    return content


def _description(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    name, value = next((n, v) for n, v in content.items() if not isinstance(v, torch.Tensor))
    return f"{name!r} with a {type(value).__name__}"


def _check(own: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], path: str | Path) -> None:
    for name, value in own.items():
        if name not in found:
            if name.endswith("num_batches_tracked"):  # files older than this counter serve as well
                continue
            raise ValueError(
                f"imagenet weights {path}: expected {name} of shape {tuple(value.shape)}, found no such name; {_REMEDY}"
            )
        if found[name].shape != value.shape:
            raise ValueError(
                f"imagenet weights {path}: expected {name} of shape {tuple(value.shape)}, found "
                f"{tuple(found[name].shape)}; {_REMEDY}"
            )
    for name, value in found.items():
        if name not in own:
            raise ValueError(
                f"imagenet weights {path}: expected the names of a ResNet-50, found {name} of shape "
                f"{tuple(value.shape)} besides; {_REMEDY}"
            )
