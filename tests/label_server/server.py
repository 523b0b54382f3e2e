"""A MONAI Label server in a process of its own, and what a client asks it over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import requests

from tests.running import ROOT

SHIM = Path(__file__).with_name("shim")
SCRIPTS = Path(sys.executable).parent
START_S = 180  # a busy machine imports slowly


def command(app: Path, studies: Path, models: str, port: int) -> list[str]:
    """What `scripts.label_app` prints."""
    words = [str(SCRIPTS / "monailabel"), "start_server", "--app", str(app), "--studies", str(studies)]
    for key, value in (("models", models), ("zoo_source", "ngc"), ("sam2", "false")):
        words += ["--conf", key, value]
    return [*words, "--host", "127.0.0.1", "--port", str(port)]


def make_command(app: Path, port: int) -> list[str]:
    """``make label-server`` in this environment, on the demo that the app's folder lies in."""
    ready = f"{SCRIPTS.parent}/.ready"
    given = [f"LABEL_VENV={SCRIPTS.parent}", f"DEMO={app.parent}", f"LABEL_PORT={port}"]
    return ["make", "-C", str(ROOT), "-o", ready, "label-server", *given]


class Server:
    """Started as a user does, on a free port; stopped with all that it started."""

    def __init__(self, app: Path, studies: Path, models: str, by_make: bool = False) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.app, self.address = app, f"http://127.0.0.1:{self.port}"
        self.command = make_command(app, self.port) if by_make else command(app, studies, models, self.port)
        self.log, self.temporary = (app.with_name(f"{app.name}_{self.port}{end}") for end in (".log", "_tmp"))
        self.temporary.mkdir()
        # as in an activated environment: the script calls whatever `python` comes first
        environment = {
            **os.environ,
            **{"PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(SHIM)},
            **{"TMPDIR": str(self.temporary), "MONAI_LABEL_SESSION_PATH": str(self.temporary / "sessions")},
            **{"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=app.parent,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> Server:
        """Until it answers."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended at once:\n{self.told()[-3000:]}")
            try:
                requests.get(f"{self.address}/info/", timeout=60).raise_for_status()
                return self
            except requests.ConnectionError:
                time.sleep(0.5)
        raise RuntimeError(f"the server did not answer:\n{self.told()[-3000:]}")

    def told(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        """As Ctrl+C does, to the server and all that it started; nothing may stay, neither process nor file."""
        if self.process.poll() is not None:
            return
        os.killpg(self.process.pid, signal.SIGINT)  # its own group: it was started in a new session
        try:
            self.process.wait(30)
            end = time.monotonic() + 10
            while (left := self.left()) and time.monotonic() < end:
                time.sleep(0.2)
        finally:
            if self.left():
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(10)
        assert not left, self.told()[-3000:]
        files = [path for path in self.temporary.rglob("*") if path.is_file()]
        kept = [path for path in files if path.suffix != ".json"]  # settings of a stopped training's log
        assert kept == []

    def left(self) -> bool:
        """Whether any process that it started is still there."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def info(self) -> dict[str, Any]:
        return requests.get(f"{self.address}/info/", timeout=60).json()

    def infer(self, model: str, image: str, output: str = "image", **params: Any) -> requests.Response:
        """What Slicer and OHIF send; the reply is left as it came."""
        return requests.post(
            f"{self.address}/infer/{model}",
            params={"image": image, "output": output},
            data={"params": json.dumps({"device": "cpu", **params})},
            timeout=300,
        )

    def mask(self, model: str, image: str, folder: Path, **params: Any) -> nib.Nifti1Image:
        """The label that infer gives back, read."""
        reply = self.infer(model, image, **params)
        assert reply.status_code == 200, (reply.text, self.told()[-3000:])
        file = folder / f"{time.monotonic_ns()}.nii.gz"
        file.write_bytes(reply.content)
        return nib.load(file)

    def save_label(self, image: str, file: Path, tag: str = "final", **params: Any) -> None:
        with file.open("rb") as stream:
            reply = requests.put(
                f"{self.address}/datastore/label",
                params={"image": image, "tag": tag},
                data={"params": json.dumps(params)},
                files={"label": (file.name, stream)},
                timeout=60,
            )
        assert reply.status_code == 200, reply.text

    def train(self, model: str, sync: bool = True, **params: Any) -> requests.Response:
        return requests.post(
            f"{self.address}/train/{model}",
            params={"run_sync": sync},
            json={"device": "cpu", **params},
            timeout=600,
        )

    def training(self) -> dict[str, Any]:
        """Status of the last training."""
        return requests.get(f"{self.address}/train/", timeout=60).json()


def voxels(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj)


def run_script(*arguments: Any, path: Path = SHIM) -> subprocess.CompletedProcess[str]:
    """``python -m scripts.label_app …`` as typed."""
    words = [sys.executable, "-m", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
