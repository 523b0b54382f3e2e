"""`--tracking configs/tracking.yaml`: MLflow holds what a run was and did, and changes nothing of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.running import ROOT, SIZE, TRAINING, make_raw, prepare, run_here

mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed: pip install '.[track]'")
TRACKING = str(ROOT / "configs" / "tracking.yaml")


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tracking")
    return prepare(make_raw(folder / "raw"), folder / "data")


def train(dataset_dir: Path, output_dir: Path, **options):
    given = {**TRAINING, "epochs": 2, "dataset_dir": str(dataset_dir), "output_dir": str(output_dir)}
    return run_here("train", **{**given, **options})


def runs(output_dir: Path) -> dict:
    """Finished and other runs by name, of one experiment."""
    client = mlflow.MlflowClient(f"sqlite:///{output_dir}/mlruns.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "tags_to_masks"]
    return {run.info.run_name: (client, run) for run in client.search_runs(experiment.experiment_id)}


def series(client, run, name: str) -> list[tuple[int, float]]:
    return [(found.step, found.value) for found in client.get_metric_history(run.info.run_id, name)]


def artefacts(client, run) -> dict[str, Path]:
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    return {found.path: folder / found.path for found in client.list_artifacts(run.info.run_id)}


def test_artefacts_lie_beside_the_database_where_a_folder_has_a_space(dataset_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(dataset_dir, tmp_path / "my runs" / "R 1", tracking=TRACKING, epochs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["my runs"]
    assert len(list((tmp_path / "my runs" / "R 1" / "mlruns").rglob("training_config.json"))) == 1


def test_a_training_leaves_each_term_each_metric_and_its_config(dataset_dir, tmp_path):
    made = train(dataset_dir, tmp_path / "mine", tracking=TRACKING)
    client, run = runs(tmp_path / "mine")["mine"]
    assert run.info.status == "FINISHED"
    terms = {
        "loss_classification",
        "loss_er",
        "loss_cmer",
        "weight_classification",
        "weight_er",
        "weight_cmer",
    }
    for name in {*terms, "tag_cross_entropy", "tag_accuracy"}:
        assert [step for step, _ in series(client, run, name)] == [1, 2], name
    state = made.parser.get_parsed_content("train#trainer").state
    for term in terms:
        assert series(client, run, term)[-1][1] == pytest.approx(state.metrics[term])
    assert series(client, run, "loss")[0][0] == 1
    assert series(client, run, "lr_group_0")[0] == (1, 1e-3)
    (config,) = artefacts(client, run).values()
    assert config.name == "training_config.json"
    assert json.loads(config.read_text())["epochs"] == 2
    assert tmp_path in config.parents  # with the run, not where the command was typed


def test_tracking_changes_no_weight_and_a_run_goes_on_without_it(dataset_dir, tmp_path, capsys):
    train(dataset_dir, tmp_path / "tracked", tracking=TRACKING)
    train(dataset_dir, tmp_path / "plain")
    found, expected = (
        torch.load(tmp_path / name / "models" / "model.pt", weights_only=True)
        for name in ("tracked", "plain")
    )
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    train(dataset_dir, tmp_path / "tracked")
    assert "going on from" in capsys.readouterr().out


def test_an_evaluation_leaves_its_scores_picture_and_config(dataset_dir, tmp_path):
    train(dataset_dir, tmp_path / "mine", tracking=TRACKING)
    given = {**SIZE, "dataset_dir": str(dataset_dir), "output_dir": str(tmp_path / "mine")}
    run_here("evaluate", **given, tracking=TRACKING)
    found = runs(tmp_path / "mine")
    assert set(found) == {"mine", "mine evaluation"}
    client, run = found["mine evaluation"]
    summary = json.loads((tmp_path / "mine" / "summary.json").read_text())
    for name in ("flair", "t1c", "fused"):
        expected = summary["maps"][name]["dice"]["mean"]
        assert series(client, run, f"{name}/dice") == [(1, pytest.approx(expected))]
    files = artefacts(client, run)
    assert set(files) == {"evaluation_config.json", "contact_sheet.png", "metrics.csv", "summary.json"}
    assert files["contact_sheet.png"].read_bytes() == (tmp_path / "mine" / "contact_sheet.png").read_bytes()


def test_another_name_and_place_are_options(dataset_dir, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    train(
        dataset_dir,
        tmp_path / "mine",
        tracking=TRACKING,
        run_name="first try",
        tracking_uri=f"sqlite:///{elsewhere}/mlruns.db",
    )
    assert set(runs(elsewhere)) == {"first try"}
    assert not (tmp_path / "mine" / "mlruns.db").exists()


def test_a_killed_training_goes_on_in_its_own_run(dataset_dir, tmp_path):
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlruns.db")
    experiment = client.create_experiment("tags_to_masks", f"file://{tmp_path}/mlruns")
    made = {name: client.create_run(experiment, run_name=name).info.run_id for name in ("mine", "another")}
    train(dataset_dir, tmp_path / "mine", tracking=TRACKING, tracking_uri=f"sqlite:///{tmp_path}/mlruns.db")
    found = {run.info.run_id: run.info.status for run in client.search_runs(experiment)}
    assert found == {made["mine"]: "FINISHED", made["another"]: "RUNNING"}
