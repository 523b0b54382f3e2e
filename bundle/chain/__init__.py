"""From tags to a segmenter's masks: the default chain, stage by stage, each an ordinary command."""

from bundle.chain.agreement import TagAgreement, tag_agreement
from bundle.chain.chain import ChainOptions, run_chain
from bundle.chain.disputes import Disputes, settle_disputes
from bundle.chain.stage import Stage, run_stage

__all__ = [
    "ChainOptions",
    "Disputes",
    "Stage",
    "TagAgreement",
    "run_chain",
    "run_stage",
    "settle_disputes",
    "tag_agreement",
]
