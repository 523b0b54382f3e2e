"""A stage runs once: what is done is skipped, what has become stale is made anew, what fails is one clear error."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.chain import Stage, run_stage
from bundle.handlers.weights import KNOWN_CASES

RUNNER = """
import json, sys
from pathlib import Path
log, result, status = sys.argv[1:4]
with open(log, "a") as file:
    file.write(json.dumps(sys.argv[4:]) + "\\n")
if status == "0":
    Path(result).write_text("done")
sys.exit(int(status))
"""


class Recorded(Stage):
    """A stage whose command notes its own arguments instead of running MONAI."""

    def command(self) -> list[str]:
        folder = self.note.parent
        log, status = folder.with_name("log"), folder.with_name("status")
        real = super().command()[5:]  # behind python -m monai.bundle run
        return [
            sys.executable,
            str(folder.with_name("runner.py")),
            str(log),
            str(self.result),
            status.read_text(),
            *real,
        ]


@pytest.fixture
def stage(tmp_path) -> Recorded:
    (tmp_path / "runner.py").write_text(RUNNER)
    (tmp_path / "status").write_text("0")
    need = tmp_path / "need"
    need.write_text("1")
    note, result = tmp_path / "out" / "note.json", tmp_path / "out" / "result"
    return Recorded("cam: training", "training", ("train",), {"epochs": 2}, note, result, [need])


def calls(stage: Stage) -> list[list[str]]:
    log = stage.note.parent.with_name("log")
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


def fail(stage: Stage, status: int) -> None:
    """Let it fail, with its command as before."""
    runner = stage.note.parent.with_name("runner.py")
    runner.write_text(RUNNER.replace("int(status)", str(status)).replace('status == "0"', "False"))


def touch(path: Path) -> None:
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


def test_the_command_is_what_a_user_types(tmp_path):
    stage = Stage("", None, ("evaluate", "method_er"), {"split": "test"}, tmp_path / "n", tmp_path / "r")
    assert stage.command()[1:4] == ["-m", "monai.bundle", "run"]
    flag, files, *options = stage.command()[4:]
    assert flag == "--config_file"
    assert [Path(file).name for file in json.loads(files.replace("'", '"'))] == [
        "evaluate.yaml",
        "method_er.yaml",
    ]
    assert options == ["--split", "test"]
    alone = replace(stage, workflow="training", configs=("train",)).command()
    assert alone[4] == "training"
    assert Path(alone[6]).name == "train.yaml"


def test_a_stage_that_is_done_is_skipped_and_tells_the_same_seconds(stage, capsys):
    seconds = run_stage(stage)
    assert run_stage(stage) == seconds
    assert len(calls(stage)) == 1
    assert "cam: training: done before" in capsys.readouterr().out


def test_other_options_run_it_again(stage):
    run_stage(stage)
    run_stage(replace(stage, options={"epochs": 3}))
    assert [call[-1] for call in calls(stage)] == ["2", "3"]


def test_without_its_result_it_runs_again(stage):
    run_stage(stage)
    stage.result.unlink()
    run_stage(stage)
    assert len(calls(stage)) == 2


def test_a_changed_need_makes_it_stale_and_a_training_starts_over(stage):
    run_stage(stage)
    touch(stage.needs[0])
    run_stage(stage)
    run_stage(stage)
    first, second = calls(stage)
    assert second == [*first, "--resume", "False"]


def test_a_changed_need_makes_a_prediction_stale_too(stage):
    reading = replace(stage, workflow=None)
    run_stage(reading)
    touch(stage.needs[0])
    run_stage(reading)
    first, second = calls(stage)
    assert second == first


def test_a_file_written_anew_in_a_needed_folder_makes_it_stale(stage, tmp_path):
    maps = tmp_path / "maps"
    maps.mkdir()
    (maps / "001.nii.gz").write_text("1")
    reading = replace(stage, workflow=None, needs=[maps])
    run_stage(reading)
    run_stage(reading)
    assert len(calls(stage)) == 1
    touch(maps / "001.nii.gz")  # the folder's own time stays
    run_stage(reading)
    assert len(calls(stage)) == 2


def test_a_failing_command_is_one_clear_error_and_is_not_done(stage):
    fail(stage, 3)
    with pytest.raises(ValueError, match="cam: training: the command ended with exit status 3, expected 0"):
        run_stage(stage)
    stage.note.parent.with_name("runner.py").write_text(RUNNER)
    run_stage(stage)
    first, second = calls(stage)
    assert second == first  # it goes on, not over


def test_a_training_whose_needs_changed_while_it_was_interrupted_starts_over_until_it_is_done(stage):
    fail(stage, 3)
    with pytest.raises(ValueError, match="exit status 3"):
        run_stage(stage)
    touch(stage.needs[0])
    with pytest.raises(ValueError, match="exit status 3"):
        run_stage(stage)
    stage.note.parent.with_name("runner.py").write_text(RUNNER)
    run_stage(stage)
    run_stage(stage)
    assert [call[-2:] == ["--resume", "False"] for call in calls(stage)] == [False, True, True]


def test_a_prediction_that_broke_off_does_not_pass_for_an_earlier_one(stage):
    reading, other = replace(stage, workflow=None), replace(stage, workflow=None, options={"split": "all"})
    run_stage(reading)
    fail(stage, 1)
    with pytest.raises(ValueError, match="exit status 1"):
        run_stage(other)
    stage.note.parent.with_name("runner.py").write_text(RUNNER)
    run_stage(reading)
    assert len(calls(stage)) == 3


def test_a_warning_that_tells_nothing_is_silent_and_every_other_is_heard(stage, capfd, monkeypatch):
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    warn = "import warnings; warnings.warn(f'{KNOWN_CASES} x (3)'); warnings.warn('another')"
    runner = stage.note.parent.with_name("runner.py")
    runner.write_text(f"KNOWN_CASES = {KNOWN_CASES!r}\n{warn}\n{RUNNER}")
    run_stage(replace(stage, silenced=(KNOWN_CASES,)))
    printed = capfd.readouterr().err
    assert "another" in printed
    assert KNOWN_CASES not in printed


def test_warnings_silenced_before_stay_so(stage, monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:mine")
    assert (
        replace(stage, silenced=("a", "b")).environment()["PYTHONWARNINGS"] == "ignore:mine,ignore:a,ignore:b"
    )
