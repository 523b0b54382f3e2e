"""One command makes a table, on the command line that a user types; killed, it goes on to the same table."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.reproduce import reproduce
from tests.running import ROOT


def command(dataset_dir: Path, output_dir: Path, *more: str) -> list[str]:
    where = ["--dataset_dir", str(dataset_dir), "--output_dir", str(output_dir), "--results", "none"]
    return [
        sys.executable,
        "-m",
        "scripts.reproduce",
        "figure7",
        *where,
        "--scale",
        "smoke",
        "--jobs",
        "2",
        *more,
    ]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def run(*arguments, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, **options),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=280,
    )


def tables(output_dir: Path) -> dict[str, bytes]:
    return {
        file.name: file.read_bytes() for file in (output_dir / "tables").iterdir() if file.suffix != ".png"
    }


@pytest.fixture(scope="module")
def undisturbed(dataset_dir, tmp_path_factory) -> tuple[Path, str]:
    output_dir = tmp_path_factory.mktemp("undisturbed")
    made = run(dataset_dir, output_dir)
    assert made.returncode == 0, made.stdout + made.stderr
    return output_dir, made.stdout


def test_the_table_is_printed_and_written_with_its_picture(undisturbed):
    output_dir, printed = undisturbed
    assert {file.name for file in (output_dir / "tables").iterdir()} == {
        f"figure7.{kind}" for kind in ("md", "csv", "png", "svg")
    }
    assert (output_dir / "tables" / "figure7.md").read_text(encoding="utf-8") in printed
    assert "2 of 2 runs have a result, 2 of them made now" in printed


def test_a_result_is_small_and_says_where_it_comes_from(undisturbed):
    folders = sorted((undisturbed[0] / "results").iterdir())
    assert [folder.name.split("_")[0] for folder in folders] == ["augmentation", "proposed"]
    for folder in folders:
        names = {file.name for file in folder.iterdir()}
        assert names == {"run.json", "config.yaml", "cam.csv", "gradcampp.csv", "panel.npz"}
        assert sum(file.stat().st_size for file in folder.iterdir()) < 60_000


def test_asked_again_it_makes_nothing(undisturbed, dataset_dir):
    output_dir, _ = undisturbed
    before = tables(output_dir)
    again = run(dataset_dir, output_dir)
    assert "2 of 2 runs have a result, 0 of them made now" in again.stdout
    assert tables(output_dir) == before


def test_killed_it_goes_on_and_gives_the_same_table(undisturbed, dataset_dir, tmp_path):
    process = subprocess.Popen(
        command(dataset_dir, tmp_path, "--jobs", "1"), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL
    )
    wait_for(lambda: list(tmp_path.glob("runs/*/checkpoints/last.pt")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(tmp_path.glob("results/*/run.json"))) < 2
    wait_for(lambda: not still_running(tmp_path))  # its run notices and ends
    assert len(list(tmp_path.glob("results/*/run.json"))) < 2
    finished = run(dataset_dir, tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert tables(tmp_path) == tables(undisturbed[0])


def wait_for(condition: Callable[[], object], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def still_running(output_dir: Path) -> bool:
    """Whether a run of this comparison holds its lock."""
    for lock in output_dir.glob("runs/*/lock"):
        with lock.open("r") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"anatomy": "prostat"}, "did you mean prostate?"),
        ({"imagenet_weights": "nowhere.pth"}, "found no such file"),
    ],
)
def test_a_slip_in_what_few_need_is_answered_too(more, message, dataset_dir, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        reproduce("figure7", dataset_dir=str(dataset_dir), output_dir=str(tmp_path), results="none", **more)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"table": "table8"}, "table 'table8' is unknown"),
        ({"scale": "smal"}, "did you mean small?"),
        ({"also": "seem"}, "did you mean seam?"),
        ({"against": "papers"}, "--against is 'papers', expected paper"),
        ({"shard": "2/2"}, "expected i/n with i from 0 to n - 1"),
        ({"pairs": "t1-adc"}, "pairs: expected combinations of the paper, found t1-adc"),
        ({"table": "table2"}, "nothing to make (table2: T1-T2-T1c-FLAIR: the data set has no t1, t2)"),
    ],
)
def test_a_slip_is_answered_before_anything_is_made(more, message, dataset_dir, tmp_path):
    asked = {"table": "figure7", "scale": "smoke", "results": "none", **more}
    with pytest.raises(ValueError, match=re.escape(message)):
        reproduce(**asked, dataset_dir=str(dataset_dir), output_dir=str(tmp_path))
    assert not list(tmp_path.iterdir())
