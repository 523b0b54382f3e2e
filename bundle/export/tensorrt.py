"""What ``configs/export_tensorrt.yaml`` asks of the machine."""

from __future__ import annotations

import torch
from torch import nn

from bundle.configuration import tell_cause_last


def on_cuda(network: nn.Module) -> nn.Module:
    """The network, where MONAI's ``trt_export`` can compile it: it looks for a GPU only after much else.

    Raises:
        ValueError: there is no CUDA device.
    """
    tell_cause_last()
    if not torch.cuda.is_available():
        raise ValueError(
            "TensorRT: expected a CUDA device, which compiles for itself, found none; run the command on the machine "
            "that will run the network, or take torchscript, export or onnx of scripts.export"
        )
    return network
