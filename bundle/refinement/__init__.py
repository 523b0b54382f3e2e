"""From maps to masks: smoothing across slices, refinement by the image, thresholds without masks, volumes."""

from bundle.refinement.markov_field import MarkovFieldd
from bundle.refinement.masks import MaskMapsd
from bundle.refinement.neighbours import SmoothMapsd
from bundle.refinement.random_walk import RandomWalkd
from bundle.refinement.thresholds import (
    EMPTY,
    DividingThreshold,
    FixedThreshold,
    IntensityVarianceThreshold,
    MixtureThreshold,
    OtsuThreshold,
    ThresholdRule,
    make_rule,
)

__all__ = [
    "EMPTY",
    "DividingThreshold",
    "FixedThreshold",
    "IntensityVarianceThreshold",
    "MarkovFieldd",
    "MaskMapsd",
    "MixtureThreshold",
    "OtsuThreshold",
    "RandomWalkd",
    "SmoothMapsd",
    "ThresholdRule",
    "make_rule",
]
