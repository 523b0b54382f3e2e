"""A bundle as the model zoo has them: ``python -m scripts.pack --output_dir O``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bundle.configuration import BUNDLE_ROOT
from bundle.data.names import name_list
from bundle.packing.pack import PackOptions, pack
from bundle.packing.tasks import DEFAULT_TASK
from scripts.command_line import output_folder, run, text

DEMO_RUN = BUNDLE_ROOT / "demo" / "run"


def pack_bundle(
    *,
    output_dir: str | None = None,
    run_dir: str | None = None,
    name: str = DEFAULT_TASK,
    configs: str | None = None,
    trained_on: str | None = None,
    data_license: str | None = None,
) -> int:
    """Packs the weights of a training with code, configs and documents: O/NAME and O/NAME_v<version>.zip.

    Args:
        output_dir: O.
        run_dir: output folder of a training of classifiers or of a segmenter; by default the demo's, made if absent.
        name: a task of bundle/packing/tasks.yaml.
        configs: overlays for inference and evaluation, such as method_paper; the training's are in already.
        trained_on: what the model card's first line says behind "Weights trained on"; by default from the data set.
        data_license: text file with the terms of the data that the weights were trained on.
    """
    if text(output_dir) is None:
        raise ValueError("--output_dir is needed: where to write the bundle")
    if text(run_dir) is None:
        make_demo()
    licence = text(data_license)
    packed = pack(
        PackOptions(
            output_dir=output_folder(output_dir),
            run_dir=Path(text(run_dir) or DEMO_RUN),
            name=name,
            overlays=name_list(configs) if text(configs) else (),
            seen=text(trained_on),
            licence=Path(licence) if licence else None,
        )
    )
    print(f"bundle   {packed.folder}\nzip      {packed.archive}")
    for path in packed.large:
        print(f"large    {path}: upload it and write its url into large_files.yml")
    print(f"check    python -m scripts.verify {packed.folder}")
    return 0


def make_demo() -> None:
    """The demo's run, if it is not there: the commands of ``make demo``, by this Python instead of one in .venv."""
    if (DEMO_RUN / "summary.json").is_file():
        return
    print(f"no run in {DEMO_RUN}: make demo, some minutes", flush=True)
    # -o: take the environment for ready
    command = ["make", "demo", f"BIN={Path(sys.executable).parent}", "-o", ".venv/.ready"]
    status = subprocess.run(command, cwd=BUNDLE_ROOT, check=False).returncode
    if status:
        raise ValueError(
            f"make demo ended with exit status {status}, expected 0; what it printed above says why"
        )


if __name__ == "__main__":
    run(pack_bundle)
