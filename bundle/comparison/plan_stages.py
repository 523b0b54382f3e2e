"""Runs that are no single training on tags: the default chain, its segmenter on masks, intensity thresholds."""

from __future__ import annotations

from typing import Any

from bundle.chain.acceptance import IMAGE_SHARE, TAG_TOLERANCE
from bundle.comparison.cohort import Cohort
from bundle.comparison.merging import decisive, hash_of, merge, shared_with_evaluation
from bundle.comparison.runs import CHAIN, INTENSITY, READOUTS, Run, RunSpec
from bundle.comparison.scales import Scale

CHAIN_READOUTS = ("cam", "cam_stage")
SEGMENTER = "train_selftrain"
SEGMENTER_READING = ("method_selftrain",)
MASKS = ("method_selftrain_masks",)


def plan_chain(spec: RunSpec, seed: int, fold: int | None, cohort: Cohort, scale: Scale) -> Run:
    """The default chain; the spec's options hold in the training of both stages.

    `Run.training` holds the options of `ChainOptions`, `Run.evaluation` those of the CAM stage's own evaluation.
    """
    own, shared = dict(spec.options), _shared(spec, cohort, fold)
    cam = shared_with_evaluation(scale.defaults)
    segmenter = shared_with_evaluation(scale.segmenter)
    training = {
        "cam_options": cam,
        "cam_training": {name: v for name, v in scale.defaults.items() if name not in cam} | own,
        "segmenter_options": segmenter,
        "segmenter_training": {name: v for name, v in scale.segmenter.items() if name not in segmenter} | own,
    }
    train = merge("train", (), {**shared, **scale.defaults, **own, "seed": seed})
    parts = {
        "train": train,
        "inference": merge("inference", (), {**shared, **cam}),
        "evaluate": merge("evaluate", (), {**shared, **cam}),
        SEGMENTER: merge(SEGMENTER, (), {**shared, **scale.segmenter, **own, "seed": seed}),
        "inference_selftrain": merge("inference_selftrain", (), {**shared, **segmenter}),
        "reading": merge("evaluate", SEGMENTER_READING, {**shared, **segmenter}),
    }
    readouts = {name: dict(READOUTS[name]) for name in CHAIN_READOUTS}
    hashed = {name: decisive(config) for name, config in parts.items()}
    rule = {"image_share": IMAGE_SHARE, "tag_tolerance": TAG_TOLERANCE}  # which rounds are kept
    identity = hash_of({**hashed, "acceptance": rule, "readouts": readouts, "data": cohort.digests[fold]})
    evaluation = {**shared, **cam}
    return Run(
        spec, seed, fold, (), training, evaluation, readouts, identity, train, parts["reading"], kind=CHAIN
    )


def plan_mask_segmenter(spec: RunSpec, seed: int, fold: int | None, cohort: Cohort, scale: Scale) -> Run:
    """The chain's segmenter, trained on masks as its upper bound."""
    shared = _shared(spec, cohort, fold)
    training = {**shared, **scale.segmenter, **dict(spec.options), "seed": seed}
    evaluation = {**shared, **shared_with_evaluation(scale.segmenter)}
    train, reading = merge(SEGMENTER, MASKS, training), merge("evaluate", SEGMENTER_READING, evaluation)
    readouts = {name: dict(READOUTS[name]) for name in spec.readouts or ("cam",)}
    parts = {SEGMENTER: decisive(train), "evaluate": decisive(reading), "readouts": readouts}
    identity = hash_of({**parts, "data": cohort.digests[fold]})
    return Run(
        *(spec, seed, fold, MASKS, training, evaluation, readouts, identity, train, reading),
        kind=SEGMENTER,
        reading_overlays=SEGMENTER_READING,
    )


def plan_baseline(spec: RunSpec, seed: int, fold: int | None, cohort: Cohort, scale: Scale) -> Run:
    """An intensity threshold by the rule that the spec's options name; it trains nothing and has no seed."""
    rule = {"rule": dict(spec.options)["rule"], **_shared(spec, cohort, fold)}
    identity = hash_of({**rule, "data": cohort.digests[fold]})
    config = {**rule, "epochs": 0, "warps": None}
    return Run(
        spec,
        seed,
        fold,
        (),
        {},
        rule,
        {"cam": {}},
        identity,
        config,
        {"threshold": rule["rule"]},
        kind=INTENSITY,
    )


def _shared(spec: RunSpec, cohort: Cohort, fold: int | None) -> dict[str, Any]:
    return {"modalities": list(spec.modalities), "splits": cohort.splits[fold]}
