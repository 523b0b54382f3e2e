"""The two-view training pass, and what turns a trained network into masks."""

from bundle.inferers.averaged import AveragedViews
from bundle.inferers.cam import CamInferer
from bundle.inferers.carried import CarryForegroundd
from bundle.inferers.fusion import FuseMapsd
from bundle.inferers.grad_cam import GradCamInferer, GradCamPlusPlusInferer
from bundle.inferers.patches import PatchProbabilityInferer, PatchTagInferer
from bundle.inferers.postprocessing import RestoreToScand, SavePredictionsd
from bundle.inferers.precision import resolve_precision
from bundle.inferers.probability import ProbabilityInferer
from bundle.inferers.reading import CamReader
from bundle.inferers.refined import RefinedCamInferer
from bundle.inferers.serving import LoadCased, MaskAsLabeld
from bundle.inferers.tags import TagInferer
from bundle.inferers.two_view import TwoViewInferer
from bundle.inferers.volume import VolumeInferer

__all__ = [
    "AveragedViews",
    "CamInferer",
    "CamReader",
    "CarryForegroundd",
    "FuseMapsd",
    "GradCamInferer",
    "GradCamPlusPlusInferer",
    "LoadCased",
    "MaskAsLabeld",
    "PatchProbabilityInferer",
    "PatchTagInferer",
    "ProbabilityInferer",
    "RefinedCamInferer",
    "RestoreToScand",
    "SavePredictionsd",
    "TagInferer",
    "TwoViewInferer",
    "VolumeInferer",
    "resolve_precision",
]
