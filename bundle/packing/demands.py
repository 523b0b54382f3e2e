"""What the model zoo asks of a bundle, in our words: files, names, metadata. See docs/packing.md.

Compared with the zoo's own check and with the metadata schema of 2024-07-25, both as of November 2026.
"""

from __future__ import annotations

from typing import Any

NECESSARY_FILES = ("configs/metadata.json", "LICENSE")  # the zoo refuses a bundle without
PREFERRED_FILES = ("models/model.pt", "configs/inference.json")  # refused as well, but for named exceptions
OWN_FILES = (  # what its contributing guide or its tools look for, and what we promise besides
    *("configs/train.json", "configs/evaluate.json", "configs/multi_gpu_train.json", "configs/logging.conf"),
    *("docs/README.md", "docs/data_license.txt", "models/model.ts", "models/model.json", "checksums.sha256"),
)
NAME = r"[a-z0-9]+_[a-z0-9]+(_[a-z0-9]+)+"  # organ_modality_task
CARD_SECTIONS = (  # of the template for docs/README.md
    *(
        "Overview",
        "Data",
        "Training configuration",
        "Input and output",
        "Performance",
        "Commands",
        "References",
    ),
    "Licence",
)
CARD_BEGINS = "Weights trained on "  # ours: what a reader must know first

# Fields of metadata.json and their types in Python; those in REQUIRED must be there.
FIELDS: dict[str, type] = {
    **dict.fromkeys(("schema", "version", "monai_version", "pytorch_version", "numpy_version"), str),
    **dict.fromkeys(("task", "description", "authors", "copyright", "data_source", "data_type"), str),
    **dict.fromkeys(("image_classes", "label_classes", "pred_classes", "intended_use"), str),
    **dict.fromkeys(("changelog", "required_packages_version", "eval_metrics", "supported_apps"), dict),
    "network_data_format": dict,
    "references": list,
}
REQUIRED = (
    *("schema", "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version"),
    *("task", "description", "authors", "copyright", "network_data_format"),
    "changelog",  # the zoo's check, not the schema
)
# Fields of each tensor under network_data_format#inputs and #outputs.
TENSOR_FIELDS: dict[str, type] = {
    **dict.fromkeys(("type", "format", "dtype"), str),
    "num_channels": int,
    **dict.fromkeys(("spatial_shape", "value_range"), list),
    "is_patch_data": bool,
    "channel_def": dict,
}
TENSOR_REQUIRED = ("type", "format", "num_channels", "spatial_shape", "dtype", "value_range")
EXACT_VERSION = r"\d+(\.\d+)*((a|b|rc|\.post|\.dev)\d+)?"  # `==`: no range, no star

_IN_JSON = {str: "string", dict: "object", list: "array", int: "integer", bool: "boolean"}


def metadata_faults(metadata: dict[str, Any]) -> list[str]:
    """What of the fields' presence and types is not as demanded; empty if all is."""
    faults = _faults("", metadata, FIELDS, REQUIRED)
    formats = metadata.get("network_data_format")
    for direction in ("inputs", "outputs"):
        tensors = formats.get(direction) if isinstance(formats, dict) else None
        if not isinstance(tensors, dict) or not tensors:
            faults.append(f"network_data_format#{direction} is missing")
            continue
        for name, tensor in tensors.items():
            place = f"network_data_format#{direction}#{name}"
            is_object = isinstance(tensor, dict)
            faults += (
                _faults(f"{place}#", tensor, TENSOR_FIELDS, TENSOR_REQUIRED)
                if is_object
                else [f"{place} is no object"]
            )
    return faults


def metadata_schema() -> dict[str, Any]:
    """The same demands as a JSON schema, for ``monai.bundle verify_metadata`` without the web."""
    tensor = _schema(TENSOR_FIELDS, TENSOR_REQUIRED)
    tensors = {"type": "object", "minProperties": 1, "additionalProperties": tensor}
    schema = _schema(FIELDS, REQUIRED)
    schema["properties"]["network_data_format"] = {
        "type": "object",
        "properties": {"inputs": tensors, "outputs": tensors},
        "required": ["inputs", "outputs"],
    }
    return {"$schema": "https://json-schema.org/draft/2019-09/schema", **schema}


def _schema(fields: dict[str, type], required: tuple[str, ...]) -> dict[str, Any]:
    properties = {name: {"type": _IN_JSON[kind]} for name, kind in fields.items()}
    return {"type": "object", "properties": properties, "required": list(required)}


def _faults(
    place: str, found: dict[str, Any], fields: dict[str, type], required: tuple[str, ...]
) -> list[str]:
    missing = [f"{place}{name} is missing" for name in required if name not in found]
    return missing + [
        f"{place}{name} is {type(found[name]).__name__}, expected {kind.__name__}"
        for name, kind in fields.items()
        if name in found
        and (not isinstance(found[name], kind) or (kind is int and isinstance(found[name], bool)))
    ]
