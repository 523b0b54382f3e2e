"""Sections of a packed bundle's model card that speak of this run: read from its settings and metadata."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from bundle.inferers.postprocessing import EXTRAS
from bundle.packing.described import SIDE
from bundle.packing.run_folder import TrainedRun

WIDTH = 118
CLASSIFIERS = (
    "{networks} classified slices; the last layer is an evidence map. The fused map, refined as "
    "`configs/inference.json` says, is the mask. After Patel and Dolz (2022). "
    "A segmenter that learns from such masks is not in this bundle."
)
SEGMENTER = (
    "{networks} gives each pixel's probability; refined as `configs/inference.json` says, they are the mask. It learnt "
    "from the class activation maps of classifiers of slice tags, which are not in this bundle, and saw no mask."
)
OF_MASKS = "{networks} learnt from masks: an upper bound, to compare weaker supervision with."
MAPS = """\
`MAPS` holds a map of each training case, `<case>.nii.gz` with values in [0, 1] on the scan's own grid. Classifiers of
slice tags draw them, and this bundle has none: its inference runs the segmenter. In the folder of a bundle of
classifiers, this writes them to `C/cams/fused` (`D` and `C` as absolute paths):

```bash
python -m monai.bundle run --config_file configs/inference.json --dataset_dir D --output_dir C --split train \\
  --save_also cams
```

"""
NORMALISED = {
    "volume": "clipped to the 0.5 and 99.5 percentile and z-scored per volume inside the foreground",
    "slice": "z-scored slice by slice",
    "": "normalised as `configs/train.json` says (`preprocessing`, `slice_normalization`)",
}
COMMANDS = """\
From the folder of this bundle, with its packages:

```bash
{pip}
```

`D` is a data set that the first command makes, `tags.csv` the tags (see Data), `R` where to write, `T` where a
training of your own writes, `SCANS` raw scans in the BraTS or decathlon layout or one 4D file a case; any tree with
`--patterns`. `--help` tells all of the first one's options.

```bash
python -m scripts.prepare_data brats --input_dir BraTS --output_dir D --tags tags.csv
python -m monai.bundle run --config_file configs/inference.json --dataset_dir SCANS --output_dir R
python -m monai.bundle run --config_file configs/evaluate.json --dataset_dir D --output_dir R
python -m monai.bundle run training --config_file configs/train.json --dataset_dir D --output_dir T{training}
python -m scripts.verify .
```

Evaluation needs masks beside the scans. `--checkpoint T/models/model.pt` runs inference and evaluation by your own
training. On several GPUs:

```bash
torchrun --standalone --nproc_per_node 2 -m monai.bundle run training \\
  --config_file "['configs/train.json','configs/multi_gpu_train.json']" --dataset_dir D --output_dir T{training}
```

{maps}`run` also works from anywhere by the absolute path of a config. Other commands of `monai.bundle` (`ckpt_export`,
`verify_net_in_out`, `load` in Python) find the code in `bundle/` from this folder, or from elsewhere after
`export PYTHONPATH=` followed by its path.
"""
TAGS = """\
- **Your own**: tags are a CSV; a slice without a row is untagged. Slices count from 0 along the third axis as stored.
  `python -m scripts.prepare_data --help` names the other forms, and the options of the split, which is by patient.

```csv
case,slice,tag
021,12,0
021,40,1
```
"""


def sections(run: TrainedRun, seen: str, metadata: Mapping[str, Any]) -> dict[str, str]:
    """Text by heading.

    Args:
        run: what is packed.
        seen: what the weights were trained on.
        metadata: of the bundle.
    """
    return {
        "Overview": _overview(run, metadata),
        "Data": _data(run, seen, metadata),
        "Training configuration": _training(run),
        "Input and output": _input_and_output(run, metadata),
        "Commands": _commands(run, metadata),
    }


def _overview(run: TrainedRun, metadata: Mapping[str, Any]) -> str:
    said = OF_MASKS if run.saw_masks else SEGMENTER if run.segmenter else CLASSIFIERS
    text = f"{metadata['task']}. {said.format(networks=_networks(run))}"
    return f"{textwrap.fill(text, WIDTH)}\n\nVersion {metadata['version']}. {metadata['intended_use']}.\n"


def _data(run: TrainedRun, seen: str, metadata: Mapping[str, Any]) -> str:
    lines = [
        f"- **Trained on**: {seen}.",
        f"- **Masks**: {metadata['pred_classes']}. **Modalities**: MR, co-registered: {', '.join(run.modalities)}.",
        f"- **Labels**: {'masks' if run.saw_masks else metadata['label_classes']}"
        + ("; maps beside them (`MAPS`, see Commands)." if _maps(run) else "."),
    ]
    return "\n".join(lines) + "\n" + TAGS


def _training(run: TrainedRun) -> str:
    of = run.settings
    three = "patch_size" in of
    what = "Patches" if three else "Slices"
    sides = of["patch_size"] if three else [of["spatial_size"]] * 2
    number = f"{of['epoch_slices']} {what.lower()}" if of["epoch_slices"] else f"all {what.lower()}"
    terms = [
        f"{name} ({term['weight']})"
        for name, term in of["loss_terms"].items()
        if term and term["weight"] != 0
    ]
    lines = [
        f"{what} of {' x '.join(map(str, sides))}; intensities {NORMALISED[run.normalised]}.",
        f"{_networks(run)}; a slice's own logit by `{_class(of['pooling'])}`.",
        f"Loss terms and their weights: {', '.join(terms)}.",
        f"`{_class(of['optimizer'])}`, learning rate {of['learning_rate']}, batch {of['batch_size']}, "
        f"{of['epochs']} epochs of {number}.",
        _views(run),
        "The last epoch is kept."
        if of.get("selection") is None
        else f"The epoch with the lowest `{of['selection']}` on held-out tags is kept.",
    ]
    return "".join(f"- {line}\n" for line in lines) + "\nAll values: `configs/train.json`.\n"


def _views(run: TrainedRun) -> str:
    of = run.settings
    changed = f"; intensities changed by `{_class(of['augmentation'])}`" if of.get("augmentation") else ""
    if of.get("warps") is None:
        return f"One view a step{_geometry(of)}{changed}."
    kinds = f"{'' if of['warps']['compose'] else 'one of '}{', '.join(of['warps']['kinds'])}"
    if of["train"]["inferer"].get("plain_view", True):
        return f"Two views a step, plain and warped by {kinds}{changed}."
    return f"One view a step, warped by {kinds}{changed}."


def _geometry(of: Mapping[str, Any]) -> str:
    """Transforms that a data set of patches applies to each."""
    parts = (of.get("geometry") or {}).get("transforms", [])
    names = dict.fromkeys(f"`{_class(part)}`" for part in parts)  # flips of three axes once
    return f", moved at random by {', '.join(names)}" if names else ""


def _input_and_output(run: TrainedRun, metadata: Mapping[str, Any]) -> str:
    image = metadata["network_data_format"]["inputs"]["image"]
    pred = metadata["network_data_format"]["outputs"]["pred"]
    within = (
        " within {} to {}".format(*image["value_range"])
        if image["value_range"]
        else " without a stated range"
    )
    axes = ", ".join("HWD"[: len(image["spatial_shape"])])
    names = ["early_fusion"] if _fused_early(run) else run.modalities
    sizes = f"each side a multiple of {SIDE} pixels"
    shape = f"(B, {image['num_channels']}, {axes})"
    rows = {
        "network input": f"float32 {shape}, normalised,{within}; {sizes}",
        "network output": f"(B, {pred['num_channels']}, {axes}), logits without bounds: "
        + ", ".join(pred["channel_def"].values()),
        "workflow input": "scans in NIfTI, MetaImage, NRRD or DICOM: "
        + f"{len(run.modalities)} files or one 4D file per case",
        "workflow output": f"`masks/<case>.nii.gz`, uint8, {metadata['pred_classes']}, "
        + "on the scan's own grid and affine",
        f"with `--save_also {','.join(EXTRAS)}`": "also `masks/<map>/<case>.nii.gz`, `cams/<map>/<case>.nii.gz` "
        + "in [0, 1] (`fused`, too) and each slice's `probabilities/<case>.csv`; leave out what you don't need. "
        + f"Maps: {', '.join(names)}",
    }
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {text} |\n" for name, text in rows.items())


def _commands(run: TrainedRun, metadata: Mapping[str, Any]) -> str:
    pins = {
        name: metadata[f"{key}_version"]
        for name, key in (("monai", "monai"), ("torch", "pytorch"), ("numpy", "numpy"))
    }
    pins |= metadata["required_packages_version"]
    words = " ".join(["pip install", *(f"{name}=={version}" for name, version in pins.items())])
    pip = " \\\n  ".join(textwrap.wrap(words, WIDTH, break_on_hyphens=False))
    maps = MAPS if _maps(run) else ""
    return COMMANDS.format(pip=pip, maps=maps, training=" --labels_dir MAPS" if maps else "")


def _maps(run: TrainedRun) -> bool:
    """Whether a training needs the maps of an earlier stage."""
    return run.segmenter and not run.saw_masks


def _fused_early(run: TrainedRun) -> bool:
    return bool(run.settings["early_fusion"]) and len(run.modalities) > 1


def _networks(run: TrainedRun) -> str:
    name = _class(run.settings["branch"])
    if not _fused_early(run):
        return f"One `{name}` per modality"
    wrap = run.settings.get("wrap")
    beside = ""
    if wrap and _class(wrap) == "ModalityExperts":
        beside = ", some dropped at random in training"
        beside += ", and a smaller one for each alone" if wrap.get("expert") else ""
    return f"One `{name}` for all modalities{beside}"


def _class(part: Any) -> str:
    """Name of the class that a part of the settings is made of."""
    return str(part["_target_"] if isinstance(part, Mapping) else part).rpartition(".")[2]
