"""A stage runs once: what is done is skipped, what has become stale is made anew, what fails is one clear error."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.chain import Stage, run_stage
from bundle.configuration import CAUSE_FILE
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


def test_a_failing_stage_passes_its_own_cause_on_and_asks_for_no_repetition(stage):
    runner = stage.note.parent.with_name("runner.py")
    told = f"import os; Path(os.environ[{CAUSE_FILE!r}]).write_text('case 003: t2 is missing; add it')"
    runner.write_text(RUNNER.replace("sys.exit(int(status))", f"{told}\nsys.exit(1)"))
    with pytest.raises(ValueError, match=r"^cam: training: case 003: t2 is missing; add it$"):
        run_stage(stage)


def test_what_monai_wrapped_is_the_error_of_the_stage(tmp_path, prepared, capfd):
    options = {"dataset_dir": prepared, "checkpoint": tmp_path / "none.pt", "modalities": "flair,t1c"}
    note, result = tmp_path / "out" / "note.json", tmp_path / "out" / "masks"
    with pytest.raises(
        ValueError, match=r"^cam: masks: checkpoint .*none.pt does not exist; train first"
    ) as told:
        run_stage(
            Stage("cam: masks", None, ("inference",), {**options, "output_dir": tmp_path}, note, result)
        )
    assert f"error: {str(told.value).removeprefix('cam: masks: ')}\n" in capfd.readouterr().err


def test_flags_of_monai_and_hyphens_are_let_through(stage):
    given = {**stage.options, "tracking": "configs/tracking.yaml", "batch-size": 4}
    assert replace(stage, configs=("train",), options=given).merged().get("batch_size") == 4


def test_a_stage_that_crashed_by_itself_is_not_to_be_repeated(stage):
    runner = stage.note.parent.with_name("runner.py")
    runner.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(ValueError, match=r"exit status -11, expected 0; what it printed above says why"):
        run_stage(stage)


def test_a_stage_that_was_killed_says_that_the_same_command_goes_on(stage):
    runner = stage.note.parent.with_name("runner.py")
    runner.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(
        ValueError, match=r"cam: training: .* SIGKILL, .*; the same command goes on from here"
    ):
        run_stage(stage)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"configs": ("train", "method_err")},
            "there is no overlay configs/method_err.yaml; did you mean method_er?",
        ),
        (
            {"options": {"epoch": "3"}},
            "config id 'epoch' is unknown and nothing refers to it; did you mean epochs?",
        ),
        ({"options": {"loss_terms#err#weight": "2"}}, "--loss_terms#err#weight: the part before the last #"),
        ({"options": {"resume": "false"}}, "config id 'resume' is the text 'false'; write False"),
    ],
)
def test_an_overlay_or_id_that_there_is_not_is_refused_without_running(changes, message, stage):
    with pytest.raises(ValueError, match=f"^cam: training: {re.escape(message)}"):
        replace(stage, **changes).merged()
    assert not calls(stage)


def test_options_mean_what_they_mean_on_a_command_line(stage):
    given = {"modalities": "flair,t1c", "resume": "False", "loss_terms#er#weight": "2", "width": "16"}
    config = replace(stage, options=given).merged()
    assert config.get_parsed_content("names") == ["flair", "t1c"]
    assert (config["resume"], config["loss_terms#er#weight"], config["width"]) == (False, 2, 16)


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
