"""The terms of the objective, one a file, and their weighted sum."""

from bundle.losses.classification import ClassificationLoss
from bundle.losses.cross_modality import CrossModalityEquivarianceLoss
from bundle.losses.distillation import DistillationLoss
from bundle.losses.equivariance import EquivarianceLoss
from bundle.losses.joint import JointLoss

__all__ = [
    "ClassificationLoss",
    "CrossModalityEquivarianceLoss",
    "DistillationLoss",
    "EquivarianceLoss",
    "JointLoss",
]
