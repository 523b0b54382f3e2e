"""ImageNet weights load from a file with torchvision's names, and nothing is guessed where they do not fit."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from bundle.networks import BranchEnsemble, CamDeepLabV3

LAYERS = {1: (64, 3), 2: (128, 4), 3: (256, 6), 4: (512, 3)}  # planes, blocks


def torchvision_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's ``resnet50`` state dict, written out from its definition."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, outputs: int, inputs: int, kernel: int) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs, kernel, kernel)

    def normalisation(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    convolution("conv1", 64, 3, 7)
    normalisation("bn1", 64)
    inputs = 64
    for layer, (planes, blocks) in LAYERS.items():
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            for number, (outputs, of, kernel) in enumerate(
                [(planes, inputs, 1), (planes, planes, 3), (4 * planes, planes, 1)], start=1
            ):
                convolution(f"{name}.conv{number}", outputs, of, kernel)
                normalisation(f"{name}.bn{number}", outputs)
            if block == 0:
                convolution(f"{name}.downsample.0", 4 * planes, inputs, 1)
                normalisation(f"{name}.downsample.1", 4 * planes)
            inputs = 4 * planes
    return {**shapes, "fc.weight": (1000, 2048), "fc.bias": (1000,)}


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """One number a tensor, stored once whatever its shape, and a stem of random ones: the file stays small."""
    shapes = torchvision_shapes()
    found = {name: torch.tensor(float(i)).expand(shape) for i, (name, shape) in enumerate(shapes.items())}
    counters = {name: torch.tensor(7) for name in shapes if name.endswith("num_batches_tracked")}
    stem = torch.randn(shapes["conv1.weight"], generator=torch.Generator().manual_seed(0))
    return {**found, **counters, "conv1.weight": stem}


@pytest.fixture(scope="module")
def file(state, tmp_path_factory) -> Path:
    return save(state, tmp_path_factory.mktemp("imagenet"))


def save(content: object, folder: Path) -> Path:
    path = folder / "resnet50.pth"
    torch.save(content, path)
    return path


def load(path: Path, **options) -> CamDeepLabV3:
    return CamDeepLabV3(weights=str(path), **options)


def test_the_names_are_those_of_resnet50():
    # torchvision: 161 parameters (53 convolutions, 53 normalisations of two, fc of two), 25,557,032 numbers;
    # three more entries for each normalisation make a state dict of 320.
    shapes = torchvision_shapes()
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    parameters = {name: shape for name, shape in shapes.items() if not name.endswith(buffers)}
    assert (len(shapes), len(parameters)) == (320, 161)
    assert sum(torch.Size(shape).numel() for shape in parameters.values()) == 25_557_032


def test_every_weight_and_statistic_of_the_trunk_is_the_files(state, file):
    own = load(file, in_channels=3).trunk.state_dict()
    assert set(own) == {name for name in state if not name.startswith("fc.")}
    for name, value in own.items():
        torch.testing.assert_close(value, _expected(state, name))


def _expected(state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    value = state[name]
    return value.mean(1, keepdim=True).expand_as(value) if name == "conv1.weight" else value


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_the_stem_is_averaged_over_rgb_and_answers_a_grey_picture_as_before(state, file, channels):
    stem = load(file, in_channels=channels).trunk.conv1
    # for one channel: 3 times the average, since one channel now says what three said
    expected = state["conv1.weight"].mean(1, keepdim=True) * 3 / channels
    torch.testing.assert_close(stem.weight.detach(), expected.expand(-1, channels, -1, -1))
    grey = torch.randn(1, 1, 32, 32)
    in_rgb = torch.nn.functional.conv2d(
        grey.expand(-1, 3, -1, -1), state["conv1.weight"], stride=2, padding=3
    )
    torch.testing.assert_close(stem(grey.expand(-1, channels, -1, -1)), in_rgb, rtol=1e-4, atol=1e-3)


def test_every_branch_starts_from_the_same_trunk(file):
    network = BranchEnsemble(["t1", "t2"], partial(CamDeepLabV3, weights=str(file)))
    first, second = (branch.trunk.state_dict() for branch in network.branches)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["conv1.weight"].data_ptr() != second["conv1.weight"].data_ptr()


def test_files_older_than_the_batch_counter_serve(state, tmp_path):
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert load(save(old, tmp_path)).trunk.bn1.num_batches_tracked == 0


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"nowhere.pth: there is no such file; give the state dict of"
    ):
        load(tmp_path / "nowhere.pth")


def test_a_file_that_torch_cannot_read_is_refused(tmp_path):
    path = tmp_path / "resnet50.pth"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(
        ValueError, match=r"resnet50.pth: expected a state dict saved by torch, found something"
    ):
        load(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([1, 2], "a list"),
        ({"state_dict": {}, "epoch": 3}, "'state_dict' with a dict"),
        (torch.ones(3), "a Tensor"),
    ],
)
def test_what_is_no_state_dict_is_refused(content, found, tmp_path):
    with pytest.raises(ValueError, match=rf"expected a state dict \(names to tensors\), found {found}; give"):
        load(save(content, tmp_path))


def test_a_missing_weight_is_named_with_its_shape(state, tmp_path):
    less = {name: value for name, value in state.items() if name != "layer2.0.downsample.0.weight"}
    expected = r"expected layer2.0.downsample.0.weight of shape \(512, 256, 1, 1\), found no such name; give"
    with pytest.raises(ValueError, match=expected):
        load(save(less, tmp_path))


def test_a_weight_of_another_shape_is_named_with_both(state, tmp_path):
    other = {**state, "layer1.0.conv2.weight": torch.ones(64, 32, 3, 3)}
    expected = r"layer1.0.conv2.weight of shape \(64, 64, 3, 3\), found \(64, 32, 3, 3\); give"
    with pytest.raises(ValueError, match=expected):
        load(save(other, tmp_path))


def test_a_deeper_resnet_is_refused(state, tmp_path):
    deeper = {**state, "layer3.6.conv1.weight": torch.ones(256, 1024, 1, 1)}
    with pytest.raises(ValueError, match=r"found layer3.6.conv1.weight of shape \(256, 1024, 1, 1\) besides"):
        load(save(deeper, tmp_path))


def test_a_narrow_network_is_refused(file):
    with pytest.raises(
        ValueError, match="expected a network of width 64, got 8; set width to 64, or the weights"
    ):
        load(file, width=8)
