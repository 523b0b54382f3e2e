"""A file is read back and compared before it is kept."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from bundle.export import FORMATS, FusedMapGraph, export_graph, largest_difference
from bundle.export.formats import random_slices
from bundle.inferers import CamInferer
from tests.tiny import MODALITIES, tiny_network, tiny_reader

WITH_PACKAGES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            any(importlib.util.find_spec(module) is None for module in form.needs),
            reason=f"{', '.join(form.needs)} are not installed: pip install '.[export]'",
        ),
    )
    for name, form in FORMATS.items()
]


def tiny_graph(**options) -> FusedMapGraph:
    inferer = CamInferer(tiny_reader(scale="probability"), gate="probability")
    return FusedMapGraph(tiny_network(**options), inferer, "product", MODALITIES[:2])


@pytest.mark.parametrize("name", WITH_PACKAGES)
def test_what_is_read_back_gives_the_same_maps(name, tmp_path):
    path, difference = export_graph(tiny_graph(), name, tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == [path]
    assert difference <= 1e-4
    assert largest_difference(tiny_graph(), FORMATS[name].read(path)) == difference
    assert largest_difference(tiny_graph(seed=1), FORMATS[name].read(path)) > 1e-2  # other weights show


def test_slices_of_one_modality_are_compared_as_well():
    graph = tiny_graph()

    def wrong_for_the_second_alone(image, foreground):
        alone = ~image[:, :1].flatten(1).any(dim=1)
        return tuple(part + alone[:, None, None, None] for part in graph(image, foreground))

    assert largest_difference(graph, graph) == 0
    assert largest_difference(graph, wrong_for_the_second_alone) == 1


@pytest.mark.parametrize("name", WITH_PACKAGES)
def test_a_file_tells_the_order_of_its_channels(name, tmp_path):
    path, _ = export_graph(tiny_graph(), name, tmp_path)
    if name == "onnx":
        import onnxruntime

        found = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map["modalities"]
    else:
        told = {"modalities": ""}
        load = torch.jit.load if name == "torchscript" else torch.export.load
        load(str(path), **{"_extra_files" if name == "torchscript" else "extra_files": told})
        found = told["modalities"] if isinstance(told["modalities"], str) else told["modalities"].decode()
    assert found == "t1,t1c"


def test_random_slices_are_the_same_at_each_call_and_0_outside():
    image, foreground = random_slices(2, 3, 64)
    assert torch.equal(image, random_slices(2, 3, 64)[0])
    assert 0 < foreground.mean() < 1
    assert not image[(foreground == 0).expand_as(image)].any()


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch):
    (tmp_path / "fused_map.ts").write_text("of a run before")
    monkeypatch.setattr("bundle.export.formats.largest_difference", lambda graph, run: 3e-4)
    with pytest.raises(ValueError, match=r"torchscript: expected maps within 0.0001 .* found 0.0003"):
        export_graph(tiny_graph(), "torchscript", tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["of a run before"]


def test_nan_is_a_difference(tmp_path, monkeypatch):
    monkeypatch.setattr("bundle.export.formats.largest_difference", lambda graph, run: float("nan"))
    with pytest.raises(ValueError, match="found nan"):
        export_graph(tiny_graph(), "torchscript", tmp_path)


def test_nan_in_one_pixel_is_seen():
    graph = tiny_graph()

    def spoilt(image, foreground):
        maps, fused = graph(image, foreground)
        fused[0, 0, 0, 0] = torch.nan
        return maps, fused

    with torch.no_grad():
        assert torch.tensor(largest_difference(graph, spoilt)).isnan()


def test_a_network_that_no_graph_holds_is_refused_by_name(tmp_path):
    class Branching(torch.nn.Module):
        def forward(self, image):
            return image if image.mean() > 0 else -image

    graph = FusedMapGraph(Branching(), CamInferer(tiny_reader()), "mean", MODALITIES[:2])
    with pytest.raises(ValueError, match="export: Branching with CamInferer cannot be exported"):
        export_graph(graph, "export", tmp_path)
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named_with_the_remedy(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "onnxruntime" else found(name)
    )
    with pytest.raises(ValueError, match=r"found no .*onnxruntime; run `pip install '.\[export\]'`"):
        export_graph(tiny_graph(), "onnx", tmp_path)


def test_an_unknown_format_names_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="format: 'torchscrip' is unknown; did you mean torchscript"):
        export_graph(tiny_graph(), "torchscrip", tmp_path)
