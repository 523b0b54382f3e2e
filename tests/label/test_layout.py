"""The folder that is laid out for MONAI Label."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from bundle.configuration import CONFIG_DIR, settings_beside
from bundle.label.layout import flat_studies, lay_out_app, served_host
from scripts.label_app import label_app
from tests.running import TRAINING, make_raw, prepare, run_here


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layout")
    prepare(make_raw(folder / "raw"), folder / "prepared")
    where = {"dataset_dir": str(folder / "prepared"), "output_dir": str(folder / "run")}
    run_here("train", **TRAINING, **where, epochs=1, seed=7)
    return folder


def test_both_configs_are_complete_with_the_settings_of_the_run(place, tmp_path):
    app, *_ = lay_out_app(place / "raw", place / "run", tmp_path / "app")
    bundle = app / "model" / "tags_to_masks"
    train, inference = (
        yaml.safe_load((bundle / "configs" / f"{name}.yaml").read_text()) for name in ("train", "inference")
    )
    for config in (train, inference):
        assert config["modalities"] == list(TRAINING["modalities"])
        assert config["width"] == 2
    assert inference["min_volume_mm3"] == 0.0
    assert train["seed"] == 7
    assert str(place) not in str(train) + str(inference)  # nothing of where the run lay
    assert (bundle / "configs" / "metadata.json").read_bytes() == (bundle / "metadata.json").read_bytes()
    assert (bundle / "models" / "model.pt").read_bytes() == (place / "run/models/model.pt").read_bytes()


def test_the_file_that_the_run_started_from_is_left_out(place, tmp_path):
    again = tmp_path / "again"
    where = {"dataset_dir": str(place / "prepared"), "output_dir": str(again)}
    run_here(
        "train",
        "run_pretrained",
        **TRAINING,
        **where,
        epochs=1,
        pretrained=str(place / "run/models/model.pt"),
    )
    assert settings_beside(again / "models" / "model.pt")["pretrained"]
    app, *_ = lay_out_app(place / "raw", again, tmp_path / "app")
    train = yaml.safe_load((app / "model/tags_to_masks/configs/train.yaml").read_text())
    assert "pretrained" not in train
    shipped = yaml.safe_load((CONFIG_DIR / "train.yaml").read_text())["initialize"]
    assert [line.replace("::", "#") for line in train["initialize"]] == shipped


def test_scans_in_folders_of_their_own_are_linked_into_one(place, tmp_path):
    folder = flat_studies(place / "raw", tmp_path, TRAINING["modalities"])
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(f"00{n}_{m}.nii.gz" for n in (1, 2, 3, 4) for m in TRAINING["modalities"])
    assert (folder / "001_flair.nii.gz").resolve() == place / "raw" / "001" / "001_flair.nii.gz"


def test_a_file_with_all_modalities_is_linked_once(tmp_path):
    (tmp_path / "scans" / "017").mkdir(parents=True)
    image = nib.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), np.eye(4))
    nib.save(image, tmp_path / "scans" / "017" / "a.b.nii.gz")
    folder = flat_studies(tmp_path / "scans", tmp_path / "app", ["flair", "t1c"])
    assert [path.name for path in folder.iterdir()] == ["a.b.nii.gz"]


def scan(path: Path, *channels: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, *channels), np.int16), np.eye(4)), path)
    return path


def test_files_that_are_named_by_their_modality_are_cases_by_folder(tmp_path):
    scans = tmp_path / "scans"
    for file in ("017/FLAIR.nii.gz", "017/t1ce.nii.gz", "017/mask.nii.gz", "018/flair.nii.gz"):
        scan(scans / file)
    folder = flat_studies(scans, tmp_path / "app", ["flair", "t1c"])
    found = {path.name: str(path.resolve().relative_to(scans.resolve())) for path in folder.iterdir()}
    assert found == {
        "017_flair.nii.gz": "017/FLAIR.nii.gz",
        "017_t1c.nii.gz": "017/t1ce.nii.gz",
        "018_flair.nii.gz": "018/flair.nii.gz",
    }


def test_links_of_other_studies_go_and_files_beside_them_stay(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    scan(first / "017" / "flair.nii.gz")
    scan(second / "018" / "flair.nii.gz")
    folder = flat_studies(first, tmp_path / "app", ["flair"])
    (folder / "datastore_v2.json").write_text("{}")
    flat_studies(second, tmp_path / "app", ["flair"])
    assert sorted(path.name for path in folder.iterdir()) == ["018_flair.nii.gz", "datastore_v2.json"]


def test_loose_scans_beside_folders_of_scans_are_refused(tmp_path):
    scan(tmp_path / "scans" / "atlas.nii.gz")
    scan(tmp_path / "scans" / "017" / "flair.nii.gz")
    with pytest.raises(
        ValueError, match=r"holds scans \(atlas.nii.gz\) and folders of scans \(017/flair.nii.gz\)"
    ):
        flat_studies(tmp_path / "scans", tmp_path / "app", ["flair"])
    assert not (tmp_path / "app").exists()


@pytest.mark.parametrize("theirs", ["main.py", "model/tags_to_masks/thesis.txt"])
def test_a_folder_that_is_no_app_is_left_alone(place, tmp_path, theirs):
    (tmp_path / theirs).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / theirs).write_text("mine")
    with pytest.raises(ValueError, match="which is not of an app made here; give a new folder"):
        lay_out_app(place / "raw", place / "run", tmp_path)
    assert (tmp_path / theirs).read_text() == "mine"
    assert len(list(tmp_path.rglob("*"))) == len(Path(theirs).parts)


def test_weights_that_were_learnt_since_are_kept_until_another_run_comes(place, tmp_path):
    app = tmp_path / "app"
    *_, learnt = lay_out_app(place / "raw", place / "run", app)
    assert learnt == ""
    served, settings = (app / "model" / "tags_to_masks" / "models" / f"model.{end}" for end in ("pt", "json"))
    served.write_bytes(b"learnt")
    settings.write_text('{"epochs": 77}')
    *_, learnt = lay_out_app(place / "raw", place / "run", app)
    assert learnt == "kept"
    assert (served.read_bytes(), settings.read_text()) == (b"learnt", '{"epochs": 77}')
    other = shutil.copytree(place / "run", tmp_path / "other")
    state = torch.load(other / "models" / "model.pt", weights_only=True)
    torch.save({name: value + 1 for name, value in state.items()}, other / "models" / "model.pt")
    *_, learnt = lay_out_app(place / "raw", other, app)
    assert learnt == "replaced"
    assert served.read_bytes() == (other / "models" / "model.pt").read_bytes()
    assert settings.read_text() == (other / "models" / "model.json").read_text()


@pytest.mark.parametrize("port", ["abc", "0", "65536"])
def test_a_port_that_is_none_is_refused(port, tmp_path):
    with pytest.raises(ValueError, match="--port is"):
        label_app(studies="s", run_dir="r", output_dir=str(tmp_path / "app"), port=port)


def test_a_folder_that_holds_scans_is_taken_as_it_is(place, tmp_path):
    assert flat_studies(place / "raw" / "001", tmp_path, ["flair"]) == place / "raw" / "001"


def test_a_run_without_weights_is_refused(place, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected models/model.pt and model.json"):
        lay_out_app(place / "raw", place / "nowhere", tmp_path)


@pytest.mark.parametrize(
    ("options", "host"),
    [
        ([], "127.0.0.1"),
        (["--port", "8001", "--host", "0.0.0.0"], "127.0.0.1"),
        (["-i", "10.0.0.7", "-p", "8001"], "10.0.0.7"),
    ],
)
def test_the_address_that_is_told_is_that_of_the_host(monkeypatch, options, host):
    monkeypatch.setattr("sys.argv", ["monailabel", "start_server", *options])
    assert served_host() == host
