"""The tasks that a bundle may be packed as, by the names that the model zoo would list them under."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bundle.data.names import nearest_name

TASKS_FILE = Path(__file__).with_name("tasks.yaml")
DEFAULT_TASK = "glioma_mri_weakly_supervised_segmentation"


def find_task(name: str) -> Mapping[str, Any]:
    """Fields of the metadata in which a configured task differs from the project's own.

    Args:
        name: of the zoo, organ_modality_task.

    Raises:
        ValueError: no such task is configured.
    """
    tasks = yaml.safe_load(TASKS_FILE.read_text(encoding="utf-8"))
    if name not in tasks:
        raise ValueError(
            f"task {name!r} is not configured; {nearest_name(name, tasks)} A task of your own: add it to "
            f"bundle/packing/{TASKS_FILE.name}"
        )
    return tasks[name]
