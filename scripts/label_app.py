"""A MONAI Label app for a folder of scans: ``scripts.label_app --studies S --run_dir R --output_dir A``."""

from __future__ import annotations

import shlex
from pathlib import Path

from bundle.label.layout import NAME, lay_out_app
from scripts.command_line import run, text

STEPS = """Then, at {address}:
  3D Slicer: extension MONAILabel, module MONAI Label, give that address and press the arrow beside it. Next Sample
             brings a scan, Run its mask. For tags, paint a dab of `tumour` in each slice that shows it, and
             a dab of `done` anywhere if you looked at all slices; Submit Label. After two cases or more: Train.
  OHIF:      start the server on a DICOMweb address in place of the folder, and open {address}/ohif/.
More in docs/label.md."""


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
    app, folder = lay_out_app(str(studies), str(run_dir), str(output_dir), name)
    models = ",".join(sorted(path.name for path in (app / "model").iterdir()))
    print(f"app      {app}\nstudies  {folder}\nmodels   {models}\n")
    print(f"Next: {start_command(app, folder, models, port)}\n")
    print(STEPS.format(address=f"http://127.0.0.1:{port}"))
    return 0


def start_command(app: Path, studies: Path, models: str, port: str) -> str:
    """The command that starts the server; without ``zoo_source`` and ``sam2`` it would ask the web."""
    words = ["monailabel", "start_server", "--app", str(app), "--studies", str(studies)]
    for key, value in (("models", models), ("zoo_source", "ngc"), ("sam2", "false")):
        words += ["--conf", key, value]
    return shlex.join([*words, "--host", "127.0.0.1", "--port", port])


if __name__ == "__main__":
    run(label_app)
