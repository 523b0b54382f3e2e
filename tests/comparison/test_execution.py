"""Runs side by side: what is there is kept, what fails is named, and shards share the work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.comparison import execution
from bundle.comparison.cohort import Cohort
from bundle.comparison.execution import execute
from bundle.comparison.results_store import ABOUT, PANEL, find_result
from bundle.comparison.runs import Run, RunSpec

RESULT = {  # of a run, in as much as tables need it
    **{
        "method": "cam",
        "modalities": ["t1", "t2"],
        "network": "",
        "early_fusion": False,
        "seed": 0,
        "fold": None,
    },
    **{"readouts": [], "curves": {}, "thresholds": [], "code_version": "abc", "panel": "017"},
    **{"device": "CPU", "precision": "float32", "seconds": 1.0},
}
COHORT = Cohort(Path("D"), "phantom", ("t1", "t2"), 16, {None: "splits.json"}, {"train": 1}, {None: "aa"})


def make_run(method: str, seed: int = 0) -> Run:
    config = {"epochs": 1, "warps": None}
    return Run(RunSpec(method, ("t1", "t2")), seed, None, (), {}, {}, {"cam": {}}, "0f", config, {})


@pytest.fixture
def processes(monkeypatch):
    """Instead of a training: a process that writes a result, or raises for the method `bad`; returns what was asked."""
    asked = []
    code = (
        f"ABOUT = {RESULT!r}\n"
        "import json,pathlib,sys\n"
        "r = json.load(open(sys.argv[1]))\n"
        "if r['about']['method'] == 'bad': raise ValueError('case 017: no luck')\n"
        "p = pathlib.Path(r['result']); p.mkdir(parents=True)\n"
        "(p / 'run.json').write_text(json.dumps(ABOUT))\n"
        "if r['about']['method'] == 'disturbed': raise ValueError('another process was faster')\n"
    )

    def start(request: Path, log: Path, slot: int, jobs: int) -> subprocess.Popen:
        asked.append(json.loads(request.read_text())["about"])
        return subprocess.Popen(
            [sys.executable, "-c", code, str(request)], stdout=log.open("ab"), stderr=log.open("ab")
        )

    monkeypatch.setattr(execution, "_start", start)
    return asked


def run_all(runs, tmp_path, **options):
    return execute(runs, COHORT, tmp_path, [tmp_path / "results"], 2, **options)


def test_what_is_there_is_not_made_again(processes, tmp_path):
    runs = [make_run("cam"), make_run("er")]
    assert sorted(run_all(runs, tmp_path).made) == sorted(run.name for run in runs)
    again = run_all(runs, tmp_path)
    assert not again.made
    assert set(again.found) == {run.name for run in runs}
    assert len(processes) == 2


def test_a_failed_run_is_named_with_its_error_and_the_others_go_on(processes, tmp_path):
    runs = [make_run("bad"), make_run("cam"), make_run("er")]
    outcome = run_all(runs, tmp_path)
    assert list(outcome.failed) == [runs[0].name]
    assert "ValueError: case 017: no luck" in outcome.failed[runs[0].name]
    assert str(tmp_path / "runs" / runs[0].name / "log.txt") in outcome.failed[runs[0].name]
    assert len(outcome.made) == 2


def test_a_failed_run_is_tried_again(processes, tmp_path):
    run_all([make_run("bad")], tmp_path)
    run_all([make_run("bad")], tmp_path)
    assert [about["method"] for about in processes] == ["bad", "bad"]


def test_a_run_that_another_process_finished_meanwhile_has_not_failed(processes, tmp_path):
    run = make_run("disturbed")
    outcome = run_all([run], tmp_path)
    assert outcome.found == {run.name: tmp_path / "results" / run.name}
    assert (outcome.failed, outcome.made) == ({}, [])


def test_shards_share_all_runs_and_leave_none(processes, tmp_path):
    runs = [make_run("cam", seed) for seed in range(5)]
    first = execute(runs, COHORT, tmp_path, [], 2, shard=(0, 2))
    assert len(first.made) == 3
    assert len(first.missing) == 2
    second = execute(runs, COHORT, tmp_path, [], 2, shard=(1, 2))
    assert sorted([*first.made, *second.made]) == sorted(run.name for run in runs)


def test_results_of_another_folder_are_taken_over(processes, tmp_path):
    run = make_run("cam")
    committed = tmp_path / "committed" / run.name
    committed.mkdir(parents=True)
    (committed / ABOUT).write_text(json.dumps(RESULT))
    outcome = execute([run], COHORT, tmp_path, [tmp_path / "results", tmp_path / "committed"], 1)
    assert outcome.found == {run.name: committed}
    assert not processes


def test_a_result_without_a_picture_does_not_serve_a_figure_of_pictures(tmp_path):
    run = make_run("cam")
    folder = tmp_path / run.name
    folder.mkdir()
    (folder / ABOUT).write_text(json.dumps(RESULT))
    assert find_result(run, [tmp_path]) == folder
    assert find_result(run, [tmp_path], need_panel=True) is None
    (folder / PANEL).write_bytes(b"")
    assert find_result(run, [tmp_path], need_panel=True) == folder


def test_a_part_of_a_result_is_no_result(tmp_path):
    run = make_run("cam")
    (tmp_path / run.name).mkdir()
    (tmp_path / run.name / "cam.csv").write_text("")
    assert find_result(run, [tmp_path]) is None


def test_a_damaged_result_is_named_and_made_again(processes, tmp_path, capsys):
    run = make_run("cam")
    run_all([run], tmp_path)
    (tmp_path / "results" / run.name / ABOUT).write_text('{"method": "cam"')
    assert find_result(run, [tmp_path / "results"]) is None
    assert f"{run.name} is damaged and will be made again" in capsys.readouterr().out


def test_the_users_own_gpus_are_given_in_turn(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(execution.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.setattr(execution.subprocess, "Popen", lambda *_, env, **__: seen.append(env))
    for slot in range(3):
        execution._start(tmp_path / "request.json", tmp_path / "log.txt", slot, 3)
    assert [env["CUDA_VISIBLE_DEVICES"] for env in seen] == ["4", "5", "4"]
