"""Whether a folder is a bundle that the model zoo would take: each check by name, with its remedy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bundle.configuration import BUNDLE_ROOT
from bundle.packing.checks import CHECKS

PROBE = Path(__file__).with_name("probe.py")


@dataclass(frozen=True)
class Finding:
    """One check.

    Args:
        check: its name.
        ok: whether it passed.
        told: what was found, or fault and remedy.
    """

    check: str
    ok: bool
    told: str

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'failed':<8}{self.check:<13}{self.told}"


def verify_files(folder: Path) -> list[Finding]:
    """The checks that only look at files: names, metadata, documents, sizes, checksums.

    Args:
        folder: of the bundle.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected the folder of a bundle, found none; unzip it first")
    found = []
    for name, check in CHECKS.items():
        try:
            found.append(Finding(name, True, check(folder)))
        except FileNotFoundError as error:  # told by "files"
            found.append(Finding(name, False, f"{error.filename} is missing; pack it again"))
        except ValueError as error:
            found.append(Finding(name, False, str(error)))
    return found


def verify_workflows(folder: Path) -> list[Finding]:
    """The checks that run the bundle's code: properties, network, TorchScript, and each workflow on made-up scans.

    They run in a process of their own, in another folder, which finds neither this project nor an installed copy of it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-S", "-P", str(PROBE), str(folder.resolve()), scratch]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(_packages()), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, encoding="utf-8", check=False)
        file = Path(scratch, "found.jsonl")
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    found = [json.loads(line) for line in lines]
    findings = [Finding(f["check"], f["fault"] is None, f["fault"] or f["told"] or "made") for f in found]
    if done.returncode:
        told = done.stderr.strip().splitlines()
        findings.append(
            Finding(
                "code",
                False,
                f"{told[-1] if told else 'it was killed'}; see the files' checks, or pack it again",
            )
        )
    return findings


def verify(folder: Path) -> list[Finding]:
    """All checks; those that run code only if no file is missing."""
    found = verify_files(folder)
    return found + (verify_workflows(folder) if found[0].ok else [])


def _packages() -> list[str]:
    """Where packages are installed, without this project: by -S, no installation of it as editable counts."""
    own = {BUNDLE_ROOT, Path.cwd()}
    return [path for path in sys.path if path and Path(path).is_dir() and Path(path).resolve() not in own]
