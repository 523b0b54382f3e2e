"""What MONAI Label calls, in its order and with its arguments, gives the masks of the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundle import configuration
from bundle.configuration import code_digest
from bundle.inferers import CamInferer
from tests.conftest import LPS, make_scan
from tests.running import READING, ROOT, SIZE, TRAINING, make_raw, merged, prepare, run_here
from tests.tiny import tiny_network, tiny_reader


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Path:
    """raw/, a bundle with trained weights, and expected/masks as the command line writes them."""
    folder = tmp_path_factory.mktemp("served")
    raw = make_raw(folder / "raw", masks=True)
    dataset_dir = prepare(raw, folder / "prepared")
    options = {**TRAINING, "learning_rate": 0.01, "epochs": 10}
    run_here("train", **options, dataset_dir=str(dataset_dir), output_dir=str(folder / "bundle"))
    checkpoint = str(folder / "bundle" / "models" / "model.pt")
    out = {"output_dir": str(folder / "expected"), "save_also": "cams"}
    run_here("inference", **READING, checkpoint=checkpoint, dataset_dir=str(raw), **out)
    return folder


def serve(served: Path, path: Path | str, **request) -> dict:
    """As monailabel.tasks.infer runs a bundle."""
    parser = merged("inference", **READING, bundle_root=str(served / "bundle"))
    data = {"image": str(path), "image_path": str(path), **request}
    for transform in parser.get_parsed_content("pre_transforms"):
        data = transform(data)
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(served / "bundle" / "models" / "model.pt"))
    with torch.no_grad():
        outputs = parser.get_parsed_content("inferer")(data["image"][None], network.eval())
    data["pred"] = {name: value[0] for name, value in outputs.items()}
    for transform in parser.get_parsed_content("post_transforms"):
        data = transform(data)
    return data


def test_one_file_of_a_case_gives_the_mask_of_the_command_line_on_the_scans_grid(served):
    done = serve(served, served / "raw" / "001" / "001_t1c.nii.gz")
    expected = nib.load(served / "expected" / "masks" / "001.nii.gz")
    assert done["pred"].dtype == np.uint8
    assert done["pred"].any()
    assert np.array_equal(done["pred"], np.asarray(expected.dataobj))
    assert np.array_equal(done["pred_meta_dict"]["affine"], expected.affine)
    assert done["result"] == {"case": "001", "warnings": []}


def test_a_file_with_all_modalities_gives_the_same(served, tmp_path):
    scans = [
        nib.load(served / "raw" / "002" / f"002_{name}.nii.gz").get_fdata() for name in SIZE["modalities"]
    ]
    nib.save(nib.Nifti1Image(np.stack(scans, -1).astype(np.int16), LPS), tmp_path / "any.nii.gz")
    expected = nib.load(served / "expected" / "masks" / "002.nii.gz")
    assert np.array_equal(serve(served, tmp_path / "any.nii.gz")["pred"], np.asarray(expected.dataobj))


def test_evidence_is_the_fused_map_as_floats(served):
    done = serve(served, served / "raw" / "001" / "001_t1c.nii.gz", evidence=True)
    expected = nib.load(served / "expected" / "cams" / "fused" / "001.nii.gz")
    assert done["pred"].dtype == np.float32
    assert np.array_equal(done["pred"], np.asarray(expected.dataobj))


def test_without_a_modality_the_other_carries_on_and_a_warning_says_so(served, tmp_path):
    shutil.copy(served / "raw" / "001" / "001_flair.nii.gz", tmp_path)
    with pytest.warns(UserWarning, match="t1c is missing"):
        done = serve(served, tmp_path / "001_flair.nii.gz")
    (warning,) = done["result"]["warnings"]
    assert warning == "case 001: t1c is missing; the prediction is made from flair alone"


def test_a_wrong_number_of_channels_is_an_error_that_says_so(served, tmp_path):
    image = np.stack([make_scan(1)[0]["flair"]] * 3, -1)
    nib.save(nib.Nifti1Image(image, LPS), tmp_path / "three.nii.gz")
    with pytest.raises(ValueError, match=r"three.nii.gz should hold 2 channels, one a modality \(found 3\)"):
        serve(served, tmp_path / "three.nii.gz")


def test_a_series_without_an_ending_gets_one(served, tmp_path):
    shutil.copytree(served / "prepared" / "cases" / "001", tmp_path / "001")
    assert serve(served, tmp_path / "001")["result_extension"] == ".nii.gz"


def test_an_inferer_without_foreground_says_where_it_comes_from():
    with pytest.raises(ValueError, match=r"foreground of its volumes, found none; .*CarryForegroundd"):
        CamInferer(tiny_reader())(MetaTensor(torch.zeros(1, 2, 16, 16, 3)), tiny_network())


def test_a_bundle_of_another_version_beside_a_loaded_one_is_refused(served, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "bundle" / "pooling", tmp_path / "bundle" / "pooling")
    with pytest.raises(ValueError, match=r"its code in .* differs from that of .* a server each"):
        configuration.check_code(tmp_path)
    monkeypatch.setattr(configuration, "code_digest", lambda root: "same")
    configuration.check_code(tmp_path)
    assert code_digest(ROOT) == code_digest(ROOT)
