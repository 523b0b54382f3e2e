"""Dabs of paint, notes and masks become tags; the server trains on them and serves the new weights."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests

from bundle.data import PreparedCase
from tests.conftest import LPS, SHAPE
from tests.label_server.conftest import MODEL, UNSURE
from tests.label_server.server import Server, run_script, voxels
from tests.running import SIZE, run_here

psutil = pytest.importorskip("psutil", reason="psutil is not installed; it comes with MONAI Label")

SLICER = [{"name": "tumour", "idx": 1}, {"name": "healthy", "idx": 2}, {"name": "done", "idx": 3}]


@pytest.fixture(scope="module")
def server(place) -> Iterator[Server]:
    studies = shutil.copytree(place / "studies", place / "tagged")
    (studies / "channels.nii.gz").unlink()  # a case that no test tags; `three` and `alone` can't be scored
    app = place / "training_app"
    flags = ["--studies", studies, "--run_dir", place / "run", "--output_dir", app, "--name", MODEL]
    assert run_script("scripts.label_app", *flags).returncode == 0
    started = Server(app, studies, MODEL)
    try:
        yield started.wait()
    finally:
        started.stop()


def trainings(server: Server) -> list[int]:
    """Processes that train for the server."""
    found = psutil.Process(server.process.pid).children(recursive=True)
    return [one.pid for one in found if "training" in one.cmdline()]


def until_it_trains(server: Server) -> None:
    end = time.monotonic() + 120
    while not any("Epoch[" in line or "training [" in line for line in server.training().get("details", [])):
        assert server.training()["status"] in ("SUBMITTED", "RUNNING"), server.training()
        assert time.monotonic() < end, server.training()
        time.sleep(0.5)


def dab(folder: Path, name: str, *slices: int, **others: int) -> Path:
    """A label with one painted voxel a slice; others by value, ``v3=0``."""
    label = np.zeros(SHAPE, np.uint8)
    label[7, 8, list(slices)] = 1
    for value, where in others.items():
        label[9, 9, where] = int(value[1:])
    nib.save(nib.Nifti1Image(label, LPS), folder / name)
    return folder / name


def tag_two_cases(server: Server, folder: Path) -> None:
    """As few labels as a training takes, so that a test runs alone, too."""
    for case in ("001", "002"):
        server.save_label(f"{case}_flair", dab(folder, f"{case}.nii.gz", 2, 3, v3=0), label_info=SLICER)


def tags_of(server: Server, case: str) -> list[int]:
    return PreparedCase.open(server.app / "work" / MODEL / "prepared" / "cases" / case).tags.tolist()


def test_the_strategy_offers_the_case_with_the_highest_disagreement_once_computed(server):
    def ask() -> requests.Response:
        return requests.post(
            f"{server.address}/activelearning/disagreement", json={"device": "cpu"}, timeout=300
        )

    offered = ask()
    assert offered.status_code == 200, offered.text
    stored = requests.get(f"{server.address}/datastore/", params={"output": "all"}, timeout=60).json()
    scores = {
        image: one["image"]["info"]["disagreement"]["score"]
        for image, one in stored["objects"].items()
        if "disagreement" in one["image"]["info"]
    }
    assert scores.pop("alone_flair") is None  # one branch; and the channels of `three` do not fit at all
    for unfit in ("alone_flair", "three"):
        assert f"{unfit} is not offered: " in server.told()
    assert sorted(scores) == ["001_flair", "002_flair", "003_flair", "004_flair"]  # one file of each case
    assert offered.json()["id"] == max(scores, key=scores.get)
    assert len(set(scores.values())) == 4
    lines = server.told().count("Inferer:: ")
    assert ask().json()["id"] == offered.json()["id"]
    assert server.told().count("Inferer:: ") == lines  # the scores were kept


def test_one_label_is_too_few_and_the_answer_says_so(server, tmp_path):
    server.save_label("001_flair", dab(tmp_path, "one.nii.gz", 2))
    reply = server.train(MODEL, max_epochs=1)
    assert reply.status_code == 422
    assert "labels of at least two cases" in reply.json()["detail"]


def test_saved_labels_become_tags_training_runs_and_the_next_mask_is_of_the_new_weights(
    server, place, tmp_path
):
    before = server.mask(MODEL, "004_flair", tmp_path, evidence=True)
    server.save_label("001_flair", dab(tmp_path, "dab.nii.gz", 2))
    server.save_label("001_flair", dab(tmp_path, "draft.nii.gz", 4), tag="original", done=True)
    server.save_label("001_t1c", dab(tmp_path, "paint.nii.gz", 3, v2=5), label_info=SLICER)
    server.save_label("002_t1c", dab(tmp_path, "done.nii.gz", 2, 3, v3=0), label_info=SLICER)
    (tmp_path / "tags.json").write_text(json.dumps({"positive_slices": [3], "complete": True}))
    server.save_label("003_flair", tmp_path / "tags.json")
    mask = shutil.copy(place / "raw" / "004" / "004_seg.nii.gz", tmp_path)
    server.save_label("004_flair", Path(mask), done="true")
    reply = server.train(MODEL, max_epochs=1, val_split=0.34)
    assert reply.status_code == 200, (reply.text, server.told()[-3000:])
    assert tags_of(server, "001") == [-1, -1, 1, 1, -1, 0]  # two labels; nothing of the draft
    assert tags_of(server, "002") == [0, 0, 1, 1, 0, 0]
    assert tags_of(server, "003") == [0, 0, 0, 1, 0, 0]
    assert tags_of(server, "004") == [0, 0, 1, 1, 0, 0]
    trained = Path(reply.json()["output_dir"]) / "models" / "model.pt"
    served = server.app / "model" / MODEL / "models" / "model.pt"
    assert served.read_bytes() == trained.read_bytes()
    assert served.read_bytes() != (place / "run" / "models" / "model.pt").read_bytes()
    after = server.mask(MODEL, "004_flair", tmp_path, evidence=True)
    assert not np.array_equal(voxels(before), voxels(after))
    written = {"output_dir": str(tmp_path / "written"), "save_also": "cams"}
    run_here(
        "inference", **{**SIZE, **UNSURE}, checkpoint=str(trained), dataset_dir=str(place / "raw"), **written
    )
    for name, given in (("cams/fused", after), ("masks", server.mask(MODEL, "004_flair", tmp_path))):
        assert np.array_equal(voxels(given), voxels(nib.load(tmp_path / "written" / name / "004.nii.gz")))
    assert "Epoch[1] Metrics -- tag_accuracy" in server.told()  # progress is in the log


def test_a_training_in_the_background_tells_its_progress_and_can_be_stopped(server, tmp_path):
    tag_two_cases(server, tmp_path)
    served = server.app / "model" / MODEL / "models" / "model.pt"
    weights = served.read_bytes()
    assert server.train(MODEL, sync=False, max_epochs=5000).status_code == 200

    until_it_trains(server)
    assert trainings(server)
    stopped = requests.delete(f"{server.address}/train/", timeout=60).json()
    assert stopped["status"] == "STOPPED"
    assert server.training()["status"] == "STOPPED"
    time.sleep(1)
    assert trainings(server) == []
    assert served.read_bytes() == weights


def test_ctrl_c_ends_the_server_and_its_training(server, tmp_path):
    tag_two_cases(server, tmp_path)
    assert server.train(MODEL, sync=False, max_epochs=5000).status_code == 200
    until_it_trains(server)
    server.stop()  # says what stayed behind
