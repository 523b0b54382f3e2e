"""How big a comparison is: a rehearsal, an afternoon on two cores, or the paper's full protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bundle.data.names import nearest_name

RECIPES = {  # overlays after train.yaml; a method is merged over them
    "ours": ("network_unet2", "method_proposed"),
    "paper": ("dataset_paper", "network_paper", "method_paper"),
    "default": (),
}


@dataclass(frozen=True)
class PhantomSize:
    """The cohort that is made where no data set is given.

    Args:
        subjects: for training, validation and test.
        spacing_mm: edge length of the voxels (in the plane, for the prostate).
        spatial_size: side of the slices in pixels.
        label: tells a cohort of other subjects from the usual one.
    """

    subjects: tuple[int, int, int]
    spacing_mm: float
    spatial_size: int
    label: str = ""


@dataclass(frozen=True)
class Scale:
    """What all runs of a comparison have in common.

    Args:
        name: ``smoke``, ``small`` or ``paper``.
        recipe: key of `RECIPES`, unless the command line says otherwise.
        options: config ids and their values, by anatomy.
        deeplabv3: further ones where the network is DeepLabv3.
        defaults: instead of `options` where a run is the default recipe, whose epochs do not depend on the data.
        segmenter: likewise for the chain's segmenter.
        phantom: by anatomy.
        full: the paper's full protocol: steps are tried and hours estimated before it starts.
    """

    name: str
    recipe: str
    options: Mapping[str, Mapping[str, Any]]
    phantom: Mapping[str, PhantomSize]
    deeplabv3: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    segmenter: Mapping[str, Any] = field(default_factory=dict)
    full: bool = False


def _both(options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {"brain": options, "prostate": options}


SMALL: dict[str, Any] = {
    "width": 8,
    "epochs": 4,
    "ramp_epochs": 2,  # half of the epochs, as 15 of the published code's 30; with 1 some branches never left chance
    "learning_rate": 1.0e-3,
    "precision": "auto",
}
SCALES = {
    "smoke": Scale(
        "smoke",
        "ours",
        _both({"width": 2, "levels": 1, "epochs": 1, "ramp_epochs": 0, "train#trainer#epoch_length": 2}),
        {"brain": PhantomSize((3, 1, 3), 6.0, 32), "prostate": PhantomSize((4, 2, 3), 6.0, 32)},
        defaults={"width": 2, "epochs": 1, "ramp_epochs": 0, "epoch_slices": 32},
        segmenter={"width": 2, "epochs": 1, "train#trainer#epoch_length": 2},
    ),
    "small": Scale(
        "small",
        "ours",
        # A prostate scan has 20 slices, a brain at 3 mm some 50: more epochs make as many steps.
        {"brain": SMALL, "prostate": {**SMALL, "epochs": 16, "ramp_epochs": 8}},
        {"brain": PhantomSize((16, 4, 16), 3.0, 64), "prostate": PhantomSize((20, 4, 8), 1.2, 64)},
    ),
    "paper": Scale(
        "paper",
        "paper",
        # Published code: the prostate's U-Net has a quarter of the width, and 100 epochs at twice the rate.
        {"brain": {}, "prostate": {"width": 16, "epochs": 100, "learning_rate": 1.0e-4}},
        {"brain": PhantomSize((24, 6, 12), 1.0, 240), "prostate": PhantomSize((20, 4, 8), 0.6, 256)},
        deeplabv3={"width": 64},  # ResNet-50 as it is
        full=True,
    ),
}


def find_scale(name: str) -> Scale:
    """The scale of that name; a ``ValueError`` names the nearest one.

    >>> find_scale("small").options["brain"]["epochs"]
    4
    """
    if name not in SCALES:
        raise ValueError(f"--scale {name!r} is unknown; {nearest_name(name, SCALES)}")
    return SCALES[name]
