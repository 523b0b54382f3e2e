"""Backbones that end in evidence maps, their ensemble, and how head channels are read."""

from bundle.networks.branch import CamBranch, bilinear_to
from bundle.networks.deeplabv3 import CamDeepLabV3
from bundle.networks.ensemble import BranchEnsemble, trust_of
from bundle.networks.experts import UNSEEN, ModalityExperts
from bundle.networks.imagenet import load_imagenet_weights
from bundle.networks.pixel_correlation import PixelCorrelationBranch, PixelCorrelationReadout
from bundle.networks.placement import on_device
from bundle.networks.readout import Readout
from bundle.networks.unet import CamUNet

__all__ = [
    "UNSEEN",
    "BranchEnsemble",
    "CamBranch",
    "CamDeepLabV3",
    "CamUNet",
    "ModalityExperts",
    "PixelCorrelationBranch",
    "PixelCorrelationReadout",
    "Readout",
    "bilinear_to",
    "load_imagenet_weights",
    "on_device",
    "trust_of",
]
