"""Trained networks as files that programs without MONAI run: from normalised slices to the fused map."""

from bundle.export.formats import FORMATS, export_graph, largest_difference
from bundle.export.graph import FusedMapGraph
from bundle.export.tensorrt import on_cuda
from bundle.export.trained import trained_graph

__all__ = ["FORMATS", "FusedMapGraph", "export_graph", "largest_difference", "on_cuda", "trained_graph"]
