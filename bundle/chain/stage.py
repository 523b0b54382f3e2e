"""One stage of a chain: a MONAI bundle command, skipped where its result is there."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser
from monai.bundle import run as bundle_run

from bundle.configuration import BUNDLE_ROOT, CAUSE_FILE, CONFIG_DIR, check_ids
from bundle.data.cache import write_json
from bundle.data.names import nearest_name

FROM_OUTSIDE = {int(one): one.name for one in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
MONAI_FLAGS = set(inspect.signature(bundle_run).parameters)  # no config ids


@dataclass(frozen=True)
class Stage:
    """What to run and how to know that it was.

    Args:
        title: what the user reads.
        workflow: run id of the config, such as ``training``; ``None`` for ``run``.
        configs: names of the merged configs, the complete one first.
        options: config ids and values.
        note: file that records the stage's command and the state of what it read.
        result: file or folder that the stage leaves; without it the stage is not done.
        needs: files and folders whose change makes the result stale.
        silenced: beginnings of warnings that tell nothing here, without commas and colons.
    """

    title: str
    workflow: str | None
    configs: Sequence[str]
    options: Mapping[str, Any]
    note: Path
    result: Path
    needs: Sequence[Path] = ()
    silenced: Sequence[str] = ()

    def command(self) -> list[str]:
        """As a user would type it."""
        files = [str(CONFIG_DIR / f"{name}.yaml") for name in self.configs]
        words = [sys.executable, "-m", "monai.bundle", "run"]
        words += [self.workflow] if self.workflow else []
        words += ["--config_file", files[0] if len(files) == 1 else str(files)]
        for name, value in self.options.items():
            words += [f"--{name}", str(value)]
        return words

    def merged(self) -> ConfigParser:
        """Configs and options as the stage's own process will merge them, checked before it starts.

        Raises:
            ValueError: there is no such overlay, or no such id.
        """
        known = [path.stem for path in CONFIG_DIR.glob("*.yaml")]
        for name in self.configs:
            if not (CONFIG_DIR / f"{name}.yaml").is_file():
                raise ValueError(
                    f"{self.title}: there is no overlay configs/{name}.yaml; {nearest_name(name, known)}"
                )
        parser = ConfigParser()
        parser.read_config([str(CONFIG_DIR / f"{name}.yaml") for name in self.configs])
        given = {name.replace("-", "_"): value for name, value in self.options.items()}
        for name, value in given.items():
            if name in MONAI_FLAGS:
                continue
            try:
                parser.update({name: DefaultParseValue(str(value))})
            except (LookupError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{self.title}: --{name}: the part before the last # is not in the configs ({error}); correct it"
                ) from error
        try:
            check_ids({name: value for name, value in parser.get().items() if name != "_meta_"})
        except ValueError as error:
            raise ValueError(f"{self.title}: {error}") from error
        return parser

    def environment(self) -> dict[str, str]:
        """That of this process, in which the package can be imported and some warnings are silent."""
        added = {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(BUNDLE_ROOT), os.environ.get("PYTHONPATH")])),
            "PYTHONWARNINGS": ",".join(
                filter(
                    None, [os.environ.get("PYTHONWARNINGS"), *(f"ignore:{text}" for text in self.silenced)]
                )
            ),
        }
        return {**os.environ, **added}

    def fingerprint(self) -> dict[str, Any]:
        """Command, what its configs say, and state of what it reads."""
        files = [CONFIG_DIR / f"{name}.yaml" for name in self.configs]
        return {
            "command": self.command()[1:],
            "configs": {file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
            "needs": {str(path): _changed_ns(path) for path in self.needs},
        }


def run_stage(stage: Stage) -> float:
    """Run a stage in a process of its own, which prints as ever; one that is done is not repeated.

    A training that was interrupted goes on. If what it reads has changed since it was begun, it starts over; under
    another command it refuses, as a training typed by hand does.

    Returns:
        The seconds it took, now or when it was done.

    Raises:
        ValueError: it failed; with the cause that it told.
    """
    before = json.loads(stage.note.read_text(encoding="utf-8")) if stage.note.is_file() else {}
    now = stage.fingerprint()
    known = before.get("fingerprint", now)
    if known == now and before.get("seconds") is not None and stage.result.exists():
        print(f"\n== {stage.title}: done before", flush=True)
        return float(before["seconds"])
    print(f"\n== {stage.title}", flush=True)
    stage.note.parent.mkdir(parents=True, exist_ok=True)
    command = stage.command()
    if stage.workflow == "training" and known["command"] == now["command"] and known["needs"] != now["needs"]:
        command += ["--resume", "False"]
    write_json(stage.note, {"fingerprint": known, "seconds": None})
    started = time.monotonic()
    with NamedTemporaryFile(encoding="utf-8", mode="r") as told:
        environment = {**stage.environment(), CAUSE_FILE: told.name}
        status = subprocess.run(command, env=environment, check=False).returncode
        cause = told.read()
    if status:
        print(file=sys.stderr)  # a progress bar leaves its line open
        raise ValueError(f"{stage.title}: {_failure(status, cause)}")
    seconds = round(time.monotonic() - started, 1)
    write_json(stage.note, {"fingerprint": now, "seconds": seconds})
    return seconds


def _failure(status: int, cause: str) -> str:
    """What is said of a stage that failed; only one that was ended from outside is worth repeating as it is."""
    if -status in FROM_OUTSIDE:
        name = FROM_OUTSIDE[-status]
        return f"it was ended by {name}, expected to run to its end; the same command goes on from here"
    return cause or f"the command ended with exit status {status}, expected 0; what it printed above says why"


def _changed_ns(path: Path) -> int:
    """When a file, or what lies in a folder, was last written; 0 without. A folder's own time misses new contents."""
    if not path.exists():
        return 0
    return max(held.stat().st_mtime_ns for held in (path, *(path.iterdir() if path.is_dir() else ())))
