"""The folder that is laid out for MONAI Label."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import yaml

from bundle.configuration import CONFIG_DIR, settings_beside
from bundle.label.layout import flat_studies, lay_out_app, served_host
from tests.running import TRAINING, make_raw, prepare, run_here


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layout")
    prepare(make_raw(folder / "raw"), folder / "prepared")
    where = {"dataset_dir": str(folder / "prepared"), "output_dir": str(folder / "run")}
    run_here("train", **TRAINING, **where, epochs=1, seed=7)
    return folder


def test_both_configs_are_complete_with_the_settings_of_the_run(place, tmp_path):
    app, _ = lay_out_app(place / "raw", place / "run", tmp_path / "app")
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
    app, _ = lay_out_app(place / "raw", again, tmp_path / "app")
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
