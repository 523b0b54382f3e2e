"""What differs between a comparison made here and the paper's: data, sizes, duration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bundle.comparison.cohort import Cohort
from bundle.comparison.published import protocol
from bundle.comparison.runs import PROPOSED, Run

RECIPE = (
    "recipe",
    "ours: rank-weighted pooling and maps in the foreground, one logit map a branch, images normalised by volume",
    "average pooling and maps over the whole slice, tumour channel of a softmax head, normalised by slice",
)
CHECKPOINT = (
    "checkpoint",
    "one for all branches of a run",
    "one a network (published code)",
)
SCHEDULES = {"CosineAnnealingLR": "cosine", "ConstantLR": "constant"}


def differences(runs: Sequence[Run], cohort: Cohort, recipe: str, anatomy: str) -> list[tuple[str, str, str]]:
    """Every item of the paper's protocol that is otherwise here: (item, ours, paper's).

    Args:
        runs: of the table.
        cohort: its data.
        recipe: its recipe.
        anatomy: whose protocol is meant.
    """
    published = protocol(anatomy)
    proposed = [run for run in runs if run.spec.method == PROPOSED] or list(runs)
    ours = _ours(proposed, cohort)
    if "backbone" not in ours:  # Table 4
        weights = "ImageNet weights" if proposed[0].config.get("imagenet_weights") else "random weights"
        width = f"width {proposed[0].config['width']}"
        other = [
            (
                "backbone",
                f"DeepLabv3 with ResNet-50, {width}, {weights}",
                "DeepLabv3 with ResNet-50 (width 64)",
            )
        ]
        published = {item: fact for item, fact in published.items() if item not in ("backbone", "width")}
    else:
        other = []
    other += [CHECKPOINT] if recipe == "paper" else [RECIPE, CHECKPOINT]
    if (length := proposed[0].config["train"]["trainer"].get("epoch_length")) is not None:
        other.append(("steps of an epoch", str(length), "all slices"))
    return other + [
        (item.replace("_", " "), value, str(published[item]))
        for item, value in ours.items()
        if item in published and value not in (published[item].text, published[item].code)
    ]


def _ours(runs: Sequence[Run], cohort: Cohort) -> dict[str, str]:
    config = runs[0].config
    cases, gate = cohort.cases, runs[0].reading["gate"]
    folds = "" if None in cohort.splits else f", {len(cohort.splits)} folds"
    widths = sorted({int(run.config["width"]) for run in runs})
    levels = sorted({int(run.config["levels"]) for run in runs})
    deeplab = config["branch"]["_target_"] != "bundle.networks.CamUNet"
    optimiser = config["optimizer"]["_target_"].rsplit(".", 1)[-1]
    schedule = config["lr_scheduler"]["_target_"].rsplit(".", 1)[-1]
    return {
        "data": cohort.source,
        "scans": str(sum(cases.values())),
        "split": f"{cases['train']} training, {cases['validation']} validation, {cases['test']} test{folds}",
        "slice_size": str(cohort.spatial_size),
        **({} if deeplab else {"backbone": f"U-Net, {_some(levels)} level{'' if levels == [1] else 's'}"}),
        "warps": "none" if config["warps"] is None else ", ".join(config["warps"]["kinds"]),
        "width": _some(widths),
        "epochs": str(config["epochs"]),
        "warm_up_epochs": str(config["ramp_epochs"]),
        "batch_size": str(config["batch_size"]),
        "optimiser": optimiser,
        "learning_rate": str(config["learning_rate"]),
        "learning_rate_schedule": SCHEDULES.get(schedule, schedule),
        "kd_temperature": _temperature(config),
        "threshold": str(runs[0].reading["threshold"]),
        "weight_decay": str(config["weight_decay"]),
        "gate": "predicted class of the slice" if gate == "class" else str(gate),
        "selection": f"lowest {config['selection']} of held-out tags".replace("_", " "),
        "seeds": str(len({run.seed for run in runs})),
        "assd_unit": "mm",
        "kd_weight": str(_term(config, "kd", "weight")),
    }


def _term(config: Mapping[str, Any], name: str, key: str) -> object:
    term = config["loss_terms"].get(name)
    return "switched off" if term is None else term[key]


def _temperature(config: Mapping[str, Any]) -> str:
    term = config["loss_terms"].get("kd")
    return "switched off" if term is None else f"{term['loss'].get('temperature', 1):g}"


def _some(numbers: Sequence[int]) -> str:
    return " and ".join(str(number) for number in numbers)
