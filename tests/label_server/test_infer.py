"""A real server, asked over HTTP, gives the masks that the command line writes."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.label.layout import NAME
from tests.conftest import MODALITIES
from tests.dicom import save_dicom
from tests.label_server.conftest import MODEL, UNSURE
from tests.label_server.server import Server, run_script, voxels
from tests.running import SIZE, run_here


@pytest.fixture(scope="module")
def server(place) -> Iterator[Server]:
    app = place / "app"
    flags = ["--studies", place / "studies", "--run_dir", place / "run", "--output_dir", app, "--name", MODEL]
    laid_out = run_script("scripts.label_app", *flags)
    assert laid_out.returncode == 0, laid_out.stderr
    started = Server(app, place / "studies", MODEL)
    _, *words, _ = started.command  # of the program's path and of the free port
    assert f"Next: {shlex.join(['monailabel', *words])} 8000\n" in laid_out.stdout
    try:
        yield started.wait()
    finally:
        started.stop()


def test_the_server_ends_its_start_with_the_address_and_the_steps_in_viewers(server):
    steps = server.told().partition(f"Ready: {server.address} ")[2]
    assert "3D Slicer: extension MONAILabel" in steps
    assert "OHIF:      reads no folders" in steps
    assert "Adding New Image" not in steps  # nothing that scrolls them away


def test_a_torchvision_of_another_torch_is_named_before_the_server_starts(place, tmp_path):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    flags = ["--studies", place / "studies", "--run_dir", place / "run", "--output_dir", tmp_path / "app"]
    refused = run_script("scripts.label_app", *flags, path=tmp_path)
    assert refused.returncode == 1
    assert "expected one that was built for torch" in refused.stderr
    assert not (tmp_path / "app").exists()


def test_make_label_server_serves_the_demo_until_ctrl_c(place, expected, tmp_path):
    shutil.copytree(place / "raw", tmp_path / "data" / "raw")
    shutil.copytree(place / "run", tmp_path / "run")
    made = Server(tmp_path / "app", tmp_path / "app" / "studies", NAME, by_make=True)
    try:
        mask = made.wait().mask(NAME, "001_t1c", tmp_path)
    finally:
        made.stop()
    assert np.array_equal(voxels(mask), expected["001"])
    assert f"Ready: {made.address} " in made.told()


def test_the_model_offers_the_labels_of_the_meta_data_and_training(server):
    info = server.info()
    assert info["models"][MODEL]["labels"] == {"tumour": 1}
    assert info["labels"] == ["tumour", "healthy", "done"]
    assert list(info["trainers"]) == [MODEL]
    assert "disagreement" in info["strategies"]


@pytest.mark.parametrize("image", ["001_flair", "001_t1c", "channels"])
def test_a_study_gives_the_mask_of_the_command_line_voxel_by_voxel(image, server, expected, place, tmp_path):
    mask = server.mask(MODEL, image, tmp_path)
    scan = nib.load(place / "studies" / f"{image}.nii.gz")
    assert mask.get_data_dtype() == np.uint8
    assert mask.shape == scan.shape[:3]
    assert np.array_equal(mask.affine, scan.affine)
    assert np.array_equal(voxels(mask), expected["002" if image == "channels" else "001"])
    assert voxels(mask).any()


def test_without_a_modality_the_others_carry_on_and_the_reply_warns(server):
    reply = server.infer(MODEL, "alone_flair", output="json")
    assert reply.status_code == 200, reply.text
    assert reply.json()["warnings"] == ["case alone: t1c is missing; the prediction is made from flair alone"]
    assert reply.json()["label_names"] == {"tumour": 1}


def test_a_wrong_number_of_channels_is_an_answer_that_says_so(server):
    reply = server.infer(MODEL, "three")
    assert reply.status_code == 422
    assert "three.nii.gz should hold 2 channels, one a modality (found 3)" in reply.json()["detail"]


def test_an_unknown_study_is_an_answer_that_says_so(server):
    reply = server.infer(MODEL, "nobody")
    assert reply.status_code == 422
    assert "image 'nobody' is not among the studies" in reply.json()["detail"]


def test_evidence_is_the_fused_map_of_the_command_line(server, place, tmp_path):
    cam = server.mask(MODEL, "001_flair", tmp_path, evidence=True)
    written = nib.load(place / "expected" / "cams" / "fused" / "001.nii.gz")
    assert cam.get_data_dtype() == np.float32
    assert np.array_equal(voxels(cam), voxels(written))


def test_a_dicom_series_in_a_folder_gives_the_mask_of_the_command_line(server, place, tmp_path):
    studies = shutil.copytree(place / "studies", tmp_path / "studies")
    for modality in MODALITIES:
        scan = nib.load(studies / f"001_{modality}.nii.gz")
        save_dicom(studies / f"series_{modality}", voxels(scan), scan.affine)
    restarted = Server(server.app, studies, MODEL)
    try:
        restarted.wait()
        mask = restarted.mask(MODEL, "series_t1c", tmp_path)
    finally:
        restarted.stop()
    assert mask.get_data_dtype() == np.uint8
    run_here(
        "inference",
        **{**SIZE, **UNSURE},
        checkpoint=str(place / "run" / "models" / "model.pt"),
        dataset_dir=str(studies),
        patterns={modality: f"{{case}}_{modality}/" for modality in MODALITIES},
        output_dir=str(tmp_path),
    )
    written = nib.load(tmp_path / "masks" / "series.nii.gz")
    assert np.array_equal(voxels(mask), voxels(written))
    assert np.allclose(mask.affine, written.affine)
    assert voxels(mask).any()


def test_two_bundles_of_one_version_are_served_beside_each_other(server, place, expected, tmp_path):
    two = shutil.copytree(server.app, tmp_path / "two")
    shutil.copytree(two / "model" / MODEL, two / "model" / "second")
    both = Server(two, place / "studies", f"{MODEL},second")
    try:
        both.wait()
        for model in (MODEL, "second"):
            assert np.array_equal(voxels(both.mask(model, "001_flair", tmp_path)), expected["001"])
    finally:
        both.stop()


def test_a_bundle_of_another_version_beside_it_is_refused_with_an_explanation(server, place, tmp_path):
    two = shutil.copytree(server.app, tmp_path / "two")
    other = shutil.copytree(two / "model" / MODEL, two / "model" / "second") / "bundle" / "__init__.py"
    other.write_text(other.read_text() + "# of another version\n")
    both = Server(two, place / "studies", f"{MODEL},second")
    with pytest.raises(
        RuntimeError, match=r"bundle second: its code in .* serve bundles of different versions"
    ):
        both.wait()


def test_the_stock_app_serves_the_same_bundle(place, server, expected, tmp_path):
    app = place / "stock"
    prefix = Path(nib.__file__).parents[4]  # of this environment, where MONAI Label put its sample apps
    shutil.copytree(next(prefix.glob("**/sample-apps/monaibundle")), app)
    shutil.copytree(server.app / "model" / MODEL, app / "model" / MODEL)
    stock = Server(app, place / "studies", MODEL)
    try:
        stock.wait()
        assert stock.info()["models"][MODEL]["labels"] == {"tumour": 1}
        for image in ("001_t1c", "channels"):
            mask = stock.mask(MODEL, image, tmp_path)
            assert mask.get_data_dtype() == np.uint8
            assert np.array_equal(voxels(mask), expected["002" if image == "channels" else "001"])
    finally:
        stock.stop()
