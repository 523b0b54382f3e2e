"""The terms of the objective, one a file, and their weighted sum."""

from bundle.losses.classification import ClassificationLoss
from bundle.losses.cross_modality import CrossModalityEquivarianceLoss
from bundle.losses.distillation import DistillationLoss
from bundle.losses.equivariance import EquivarianceLoss
from bundle.losses.equivariant_cross import EquivariantCrossLoss
from bundle.losses.joint import JointLoss
from bundle.losses.min_pooling import AdaptiveMinPoolingLoss
from bundle.losses.self_training import SelfTrainingLoss
from bundle.losses.supervised import SupervisedLoss
from bundle.losses.volume_classification import VolumeClassificationLoss

__all__ = [
    "AdaptiveMinPoolingLoss",
    "ClassificationLoss",
    "CrossModalityEquivarianceLoss",
    "DistillationLoss",
    "EquivarianceLoss",
    "EquivariantCrossLoss",
    "JointLoss",
    "SelfTrainingLoss",
    "SupervisedLoss",
    "VolumeClassificationLoss",
]
