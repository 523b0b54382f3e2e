"""Evidence map to image-level logit."""

from bundle.pooling.pooling import AveragePooling, LogSumExpPooling, Pooling, RankPooling, TopSharePooling

__all__ = ["AveragePooling", "LogSumExpPooling", "Pooling", "RankPooling", "TopSharePooling"]
