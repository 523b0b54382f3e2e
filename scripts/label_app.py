"""A MONAI Label app for a folder of scans: ``scripts.label_app --studies S --run_dir R --output_dir A``."""

from __future__ import annotations

import shlex
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from bundle.label.layout import NAME, lay_out_app
from scripts.command_line import output_folder, run, text, whole


def label_app(
    *,
    studies: str | None = None,
    run_dir: str | None = None,
    output_dir: str | None = None,
    name: str = NAME,
    port: str = "8000",
) -> int:
    """Lays out an app for MONAI Label and prints the command that starts it.

    Args:
        studies: folder with scans: 4D files, several files a case, or folders of DICOM series.
        run_dir: output folder of the training whose weights are served.
        output_dir: the app's folder; called again with another --name, it serves both.
        name: of the model in the server.
        port: that the server listens on.
    """
    for flag, value in (("studies", studies), ("run_dir", run_dir), ("output_dir", output_dir)):
        if text(value) is None:
            raise ValueError(f"--{flag} is missing, expected a folder; give it")
    check_torchvision()
    listen = whole("port", port) or 0
    if not 0 < listen < 2**16:
        raise ValueError(f"--port is {port}, expected a number from 1 to {2**16 - 1}; correct it")
    app, folder, learnt = lay_out_app(str(studies), str(run_dir), output_folder(output_dir), name)
    models = ",".join(sorted(path.name for path in (app / "model").iterdir()))
    print(f"app      {app}\nstudies  {folder}\nmodels   {models}\n")
    if learnt:
        print(
            f"Weights that the server learnt from labels are {learnt}; its trainings lie in {app / 'work' / name}.\n"
        )
    print(f"Next: {start_command(app, folder, models, port)}")
    print("It takes some seconds, and ends with the address and the steps in a viewer.")
    return 0


def check_torchvision() -> None:
    """MONAI Label imports torchvision, which loads only beside the torch that it was built for."""
    if find_spec("torchvision") is None:
        return  # the server may have another environment
    try:
        import_module("torchvision")
    except (ImportError, OSError, RuntimeError) as error:
        raise ValueError(
            f"torchvision {version('torchvision')}: MONAI Label needs it, expected one that was built for torch "
            f"{version('torch')} (found: {error}); install the one from where torch came from"
        ) from error


def start_command(app: Path, studies: Path, models: str, port: str) -> str:
    """The command that starts the server; without ``zoo_source`` and ``sam2`` it would ask the web."""
    words = ["monailabel", "start_server", "--app", str(app), "--studies", str(studies)]
    for key, value in (("models", models), ("zoo_source", "ngc"), ("sam2", "false")):
        words += ["--conf", key, value]
    return shlex.join([*words, "--host", "127.0.0.1", "--port", port])


if __name__ == "__main__":
    run(label_app)
