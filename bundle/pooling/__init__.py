"""Evidence map to image-level logit."""

from bundle.pooling.pooling import AveragePooling, LogSumExpPooling, Pooling, RankPooling, TopSharePooling
from bundle.pooling.slices import SlicePooling

__all__ = ["AveragePooling", "LogSumExpPooling", "Pooling", "RankPooling", "SlicePooling", "TopSharePooling"]
