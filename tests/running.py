"""The shipped configs, run in this process or as a user types them, on a cohort small enough for a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow

from bundle.data.prepare import PrepareOptions, prepare_cohort
from bundle.data.readers import find_brats
from tests.conftest import MODALITIES, make_scan, write_case_files

ROOT = Path(__file__).resolve().parent.parent
SIZE = {  # of every run; lesions lie below the least volume of the defaults, and masks are compared with maps
    **{"modalities": MODALITIES, "width": 2, "levels": 1, "precision": "float32"},
    "min_volume_mm3": 0.0,
    "fill_holes": False,
}
READING = {**SIZE, "refine#peak": 0.5}  # of inference and evaluation: what learnt this little is sure nowhere
TRAINING = {**SIZE, "batch_size": 4, "epoch_slices": 0}
SEGMENTER = "method_selftrain"  # no overlay of one axis: another network, merged after evaluate.yaml alone
SPLITS = {"train": ["001", "002"], "validation": ["003"], "test": ["004"]}


def config_files(*names: str) -> list[str]:
    """Absolute paths; the first name is the complete config."""
    return [name if name.endswith(".yaml") else str(ROOT / "configs" / f"{name}.yaml") for name in names]


def merged(*names: str, **overrides: Any) -> ConfigParser:
    """A parser over the merged files; what it gives is resolved on demand."""
    parser = ConfigParser()
    parser.read_config(config_files(*names))
    parser.update(overrides)
    return parser


def workflow(*names: str, run_id: str = "run", **overrides: Any) -> ConfigWorkflow:
    """What ``python -m monai.bundle run`` makes of its arguments, initialised."""
    made = ConfigWorkflow(
        config_files(*names), run_id=run_id, logging_file=False, workflow_type=None, **overrides
    )
    made.initialize()
    return made


def run_here(*names: str, run_id: str = "run", **overrides: Any) -> ConfigWorkflow:
    """``python -m monai.bundle run`` without a new process."""
    made = workflow(*names, run_id=run_id, **overrides)
    made.run()
    made.finalize()
    return made


def typed(*arguments: Any, launcher: Iterable[str] = (), environment: dict[str, str] | None = None) -> dict:
    """Arguments for `subprocess`: ``python -m monai.bundle …`` with one thread, output captured."""
    command = [sys.executable, *launcher, "-m", "monai.bundle", *map(str, arguments)]
    # the package is importable from anywhere, as after `make`, which installs it
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **(environment or {})}
    return {"args": command, "env": env, "cwd": ROOT, "text": True, "encoding": "utf-8"}


def run_typed(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run what a user types; the caller looks at returncode, stdout and stderr."""
    return subprocess.run(**{**typed(*arguments), "capture_output": True, "timeout": 300, **options})


def flags(**values: Any) -> list[str]:
    """``--name value`` for the command line; a tuple is ``a,b``."""
    texts = {k: ",".join(v) if isinstance(v, tuple) else str(v) for k, v in values.items()}
    return [part for name, text in texts.items() for part in (f"--{name}", text)]


def root_cause(error: BaseException) -> BaseException:
    """The error that MONAI's wrappers were raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def make_raw(folder: Path, masks: bool = True) -> Path:
    """Four cases, 001 to 004, in the BraTS layout."""
    for number in range(1, 5):
        case = f"{number:03d}"
        images, mask = make_scan(number)
        write_case_files(folder / case, case, images, mask if masks else None)
    return folder


def prepare(
    raw: Path, dataset_dir: Path, splits: dict[str, list[str]] | None = None, spatial_size: int = 16
) -> Path:
    """Prepare a raw cohort with tags from its masks."""
    file = dataset_dir.with_name(f"{dataset_dir.name}_splits.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(splits or SPLITS))
    options = PrepareOptions(
        MODALITIES, tags_from_masks=True, splits=file, spatial_size=spatial_size, workers=1
    )
    prepare_cohort(find_brats(raw, MODALITIES), dataset_dir, options, "brats", progress=False)
    return dataset_dir
