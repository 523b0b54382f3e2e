"""Backbones that end in evidence maps, their ensemble, and how head channels are read."""

from bundle.networks.ensemble import BranchEnsemble
from bundle.networks.readout import Readout
from bundle.networks.unet import CamUNet

__all__ = ["BranchEnsemble", "CamUNet", "Readout"]
