"""Ramp-up and logging of loss terms, run state, tag metrics, evaluation, and what several ranks share."""

from bundle.handlers.annealed_pooling import AnnealedPooling
from bundle.handlers.averaged_weights import AveragedWeights
from bundle.handlers.branch_trust import BranchTrust, trust_of_entropies
from bundle.handlers.broadcast_buffers import BroadcastBuffers
from bundle.handlers.early_stop import EarlyStop
from bundle.handlers.evaluation import EvaluationReport
from bundle.handlers.intensity_start import start_from_intensity
from bundle.handlers.loss_term import LossTermHandler, LossTermHandlers, ramp_up
from bundle.handlers.prediction_sheet import PredictionSheet
from bundle.handlers.pretrained import start_from_weights
from bundle.handlers.process_group import join_process_group, leave_process_group
from bundle.handlers.run_state import RandomState, RunState
from bundle.handlers.tag_metrics import TagAccuracy, TagCrossEntropy
from bundle.handlers.volume_metrics import VolumeCrossEntropy
from bundle.handlers.weights import LoadWeights

__all__ = [
    "AnnealedPooling",
    "AveragedWeights",
    "BranchTrust",
    "BroadcastBuffers",
    "EarlyStop",
    "EvaluationReport",
    "LoadWeights",
    "LossTermHandler",
    "LossTermHandlers",
    "PredictionSheet",
    "RandomState",
    "RunState",
    "TagAccuracy",
    "TagCrossEntropy",
    "VolumeCrossEntropy",
    "join_process_group",
    "leave_process_group",
    "ramp_up",
    "start_from_intensity",
    "start_from_weights",
    "trust_of_entropies",
]
