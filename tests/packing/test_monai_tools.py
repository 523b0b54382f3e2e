"""MONAI's own commands on a bundle that was only unzipped: `python -m monai.bundle …` and their functions."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import (
    ckpt_export,
    create_workflow,
    load,
    onnx_export,
    verify_metadata,
    verify_net_in_out,
)
from monai.data import load_net_with_metadata
from monai.fl.client import MonaiAlgo
from monai.fl.utils.exchange_object import ExchangeObject

from bundle.packing.demands import metadata_schema
from tests.running import ROOT, SIZE, flags, root_cause, run_here


def config(folder: Path, name: str) -> str:
    return str(folder / "configs" / f"{name}.json")


def packages() -> str:
    """Where packages are installed, without this project, which may be installed there as editable: see -S."""
    own = (ROOT, Path.cwd())
    return os.pathsep.join(p for p in sys.path if p and Path(p).is_dir() and Path(p).resolve() not in own)


def elsewhere(
    folder: Path, *arguments: str, options: tuple[str, ...] = ("-S", "-P"), path: str = ""
) -> subprocess.CompletedProcess[str]:
    """`python -m monai.bundle` in another folder, without any installation of this project."""
    command = [sys.executable, *options, "-m", "monai.bundle", *arguments]
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [path, packages()])),
    }
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


def test_whoever_only_unzips_it_gets_the_same_masks_from_anywhere(bundle_dir, dataset_dir, trained, tmp_path):
    raw = dataset_dir.with_name("raw")
    done = elsewhere(
        tmp_path,
        "run",
        *("--config_file", config(bundle_dir, "inference")),
        *flags(dataset_dir=raw, output_dir="masks_of_mine"),
    )
    assert done.returncode == 0, done.stderr
    options = {**SIZE, "dataset_dir": str(raw), "output_dir": str(tmp_path / "ours")}
    run_here("inference", **options, checkpoint=str(trained / "models" / "model.pt"))
    for case in ("001", "002", "003", "004"):
        found, wanted = (
            nib.load(tmp_path / r / "masks" / f"{case}.nii.gz") for r in ("masks_of_mine", "ours")
        )
        np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(wanted.dataobj))
        np.testing.assert_array_equal(found.affine, wanted.affine)


def test_another_order_of_modalities_is_refused_by_the_packed_settings(bundle_dir, dataset_dir, tmp_path):
    done = elsewhere(
        tmp_path,
        "run",
        *("--config_file", config(bundle_dir, "inference")),
        *flags(dataset_dir=dataset_dir.with_name("raw"), modalities="t1c,flair"),
    )
    assert done.returncode == 1
    assert "was trained with other settings (modalities was" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "kind"), [("train", "train"), ("inference", "infer"), ("evaluate", "infer")]
)
def test_no_property_is_missing_in_a_packed_workflow(name, kind, packed_code, dataset_dir, tmp_path):
    places = {"dataset_dir": str(dataset_dir), "output_dir": str(tmp_path)}
    made = create_workflow(
        config_file=config(packed_code, name), workflow_type=kind, logging_file=False, **places
    )
    assert made.check_properties() == []
    assert Path(made.bundle_root) == packed_code


def test_a_mistyped_option_of_a_packed_config_fails(packed_code, dataset_dir):
    options = {"dataset_dir": str(dataset_dir), "epoch": 3}
    made = create_workflow(config_file=config(packed_code, "train"), logging_file=False, **options)
    with pytest.raises(RuntimeError) as error:
        made.run()
    assert "did you mean epochs?" in str(root_cause(error.value))


def test_load_gives_the_network_with_its_weights(packed_code, trained):
    wanted = torch.load(trained / "models" / "model.pt", weights_only=True)
    network = load(
        packed_code.name, bundle_dir=str(packed_code.parent), workflow_type="inference", source="github"
    )
    assert Path(sys.modules["bundle"].__file__).is_relative_to(packed_code)
    for name, value in network.state_dict().items():
        assert torch.equal(value, wanted[name]), name


def test_load_gives_the_torchscript_module_too(packed_code):
    network = load(
        packed_code.name, bundle_dir=str(packed_code.parent), load_ts_module=True, source="github"
    )[0]
    assert network(torch.zeros(1, 2, 32, 32)).shape == (1, 2, 32, 32)


def test_the_metadata_pass_monais_own_check(bundle_dir, tmp_path):
    pytest.importorskip("jsonschema")
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(metadata_schema()))
    verify_metadata(config(bundle_dir, "metadata"), filepath=str(schema))
    broken = tmp_path / "metadata.json"
    broken.write_text((bundle_dir / "configs" / "metadata.json").read_text().replace('"task"', '"tusk"'))
    with pytest.raises(ValueError, match="'task' is a required property"):
        verify_metadata(str(broken), filepath=str(schema))


def test_the_network_takes_and_gives_what_the_metadata_tell(packed_code):
    verify_net_in_out(
        "network_def", config(packed_code, "metadata"), config(packed_code, "inference"), device="cpu"
    )


def test_it_is_exported_to_torchscript(packed_code, tmp_path):
    ckpt_export(
        "network_def",
        filepath=str(tmp_path / "again.ts"),
        ckpt_file=str(packed_code / "models" / "model.pt"),
        meta_file=config(packed_code, "metadata"),
        config_file=config(packed_code, "inference"),
    )
    again, _, _ = load_net_with_metadata(str(tmp_path / "again.ts"))
    packed, _, _ = load_net_with_metadata(str(packed_code / "models" / "model.ts"))
    slices = torch.randn(3, 2, 32, 64)
    assert torch.equal(again(slices), packed(slices))


@pytest.mark.parametrize("where", ["its folder", "anywhere, its folder in PYTHONPATH"])
def test_it_is_exported_as_typed(where, bundle_dir, tmp_path):
    within = where == "its folder"
    done = elsewhere(
        bundle_dir if within else tmp_path,
        *("ckpt_export", "network_def"),
        *flags(
            filepath=tmp_path / "typed.ts",
            ckpt_file=bundle_dir / "models" / "model.pt",
            meta_file=config(bundle_dir, "metadata"),
            config_file=config(bundle_dir, "inference"),
        ),
        options=("-S",) if within else ("-S", "-P"),
        path="" if within else str(bundle_dir),
    )
    assert done.returncode == 0, done.stderr
    slices = torch.randn(1, 2, 32, 32)
    typed, packed = (
        load_net_with_metadata(str(file))[0]
        for file in (tmp_path / "typed.ts", bundle_dir / "models" / "model.ts")
    )
    assert torch.equal(typed(slices), packed(slices))


@pytest.mark.skipif(
    torch.__version__ < "2.9",
    reason="torch 2.8's exporter does not take the traced network of MONAI's command",
)
def test_it_is_exported_to_onnx(packed_code, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from onnx.reference import ReferenceEvaluator

    onnx_export(
        "network_def",
        filepath=str(tmp_path / "model.onnx"),
        ckpt_file=str(packed_code / "models" / "model.pt"),
        meta_file=config(packed_code, "metadata"),
        config_file=config(packed_code, "inference"),
    )
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model)
    slices = torch.rand(1, 2, 32, 32)
    (found,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: slices.numpy()})
    wanted = load_net_with_metadata(str(packed_code / "models" / "model.ts"))[0](slices)
    np.testing.assert_allclose(found, wanted.detach().numpy(), atol=1e-4)


def test_another_network_is_put_in_by_an_override(packed_code, dataset_dir, tmp_path):
    branch = {"_target_": "BasicUNet", "_mode_": "callable", "spatial_dims": 2, "out_channels": 1}
    made = create_workflow(
        config_file=config(packed_code, "train"),
        workflow_type="train",
        logging_file=False,
        **{"dataset_dir": str(dataset_dir), "output_dir": str(tmp_path / "mine")},
        branch={**branch, "features": [2, 2, 4, 8, 8, 2]},
    )
    made.run_id = "training"
    made.run()
    assert type(made.network_def.branches[0]).__name__ == "BasicUNet"
    assert (tmp_path / "mine" / "models" / "model.pt").is_file()


def test_it_is_a_client_of_federated_learning_under_the_names_that_monai_expects(
    packed_code, dataset_dir, tmp_path
):
    options = {"dataset_dir": str(dataset_dir), "output_dir": str(tmp_path / "site")}
    client = MonaiAlgo(str(packed_code), train_kwargs=options, eval_kwargs=dict(options))
    client.initialize()
    given = copy.deepcopy(client.trainer.network.state_dict())
    client.train(ExchangeObject(weights=given))
    difference = client.get_weights().weights  # MONAI's default: what was learnt, not the weights
    assert difference.keys() == given.keys()
    learnt = client.trainer.network.state_dict()
    for name, value in given.items():
        torch.testing.assert_close(value + difference[name], learnt[name])
    assert any(bool(value.any()) for value in difference.values())
    assert client.evaluate(ExchangeObject(weights=given)).metrics["tag_cross_entropy"] > 0
