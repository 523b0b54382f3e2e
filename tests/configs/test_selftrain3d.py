"""One overlay makes the segmenter one of three dimensions: in training, prediction and evaluation alike."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from bundle.configuration import MODEL_IDS, check_ids
from bundle.data import PreparedCase, PseudoLabelPatchDataset
from tests.conftest import SHAPE
from tests.running import SEGMENTER, make_raw, merged, prepare, root_cause, run_here

OVERLAY = "network_selftrain3d"
SMALL = {
    "modalities": "flair,t1c",
    "precision": "float32",
    "patch_size": [16, 16, 8],  # the cases have six slices
    "epochs": 1,
    "epoch_slices": 4,
}
DYNUNET = {
    **{"_target_": "DynUNet", "_mode_": "callable", "spatial_dims": 3, "out_channels": 1},
    **{"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 16]},
}
networks = pytest.mark.parametrize("network", [{}, {"branch": DYNUNET}], ids=["SegResNet", "DynUNet"])


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """The cohort at 24 x 24 pixels, in six slices, and maps of its training cases."""
    folder = tmp_path_factory.mktemp("selftrain3d")
    prepare(make_raw(folder / "raw"), folder / "prepared", spatial_size=24)
    (folder / "maps").mkdir()
    for case in ("001", "002"):
        geometry = PreparedCase.open(folder / "prepared" / "cases" / case).geometry
        cam = np.zeros(geometry.shape, dtype=np.float32)
        cam[5:10, 6:12, 2:4] = 0.9
        nib.save(nib.Nifti1Image(cam, geometry.affine), folder / "maps" / f"{case}.nii.gz")
    return folder


def places(wide: Path) -> dict[str, str]:
    return {"dataset_dir": str(wide / "prepared"), "labels_dir": str(wide / "maps")}


@pytest.mark.parametrize(
    "complete", [("train_selftrain",), ("inference_selftrain",), ("evaluate", SEGMENTER)], ids="+".join
)
def test_it_has_no_unknown_ids(complete):
    check_ids(merged(*complete, OVERLAY).get())


def test_training_prediction_and_evaluation_share_all_that_decides_what_it_says():
    training, prediction, evaluation = (
        merged(*complete, OVERLAY).get()
        for complete in (("train_selftrain",), ("inference_selftrain",), ("evaluate", SEGMENTER))
    )
    shared = {name for name in (*MODEL_IDS, "network") if name in training}
    assert shared >= {"branch", "width", "network_def", "pooling", "patch_size"}
    for other in (prediction, evaluation):
        assert {name: other[name] for name in shared} == {name: training[name] for name in shared}
    assert prediction["method"] == evaluation["method"]


@networks
def test_patches_of_two_cases_make_a_step_and_some_steps_lower_the_loss(network, wide):
    parser = merged("train_selftrain", OVERLAY, **SMALL, **network, **places(wide), augmentation=None)
    dataset = parser.get_parsed_content("train#dataset")
    assert isinstance(dataset, PseudoLabelPatchDataset)
    (batch,) = list(parser.get_parsed_content("train#dataloader"))[:1]
    assert batch["image"].shape == (2, 2, 16, 16, 8)
    made, loss, inferer, optimizer = (
        parser.get_parsed_content(name) for name in ("network", "loss", "train#inferer", "optimizer")
    )
    values = []
    for _ in range(8):
        views = inferer(batch["image"], made, foreground=batch["foreground"])
        value = loss(views, batch["label"])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.9 * values[0]


@networks
@pytest.mark.parametrize("available", [None, "flair"])
def test_its_masks_and_maps_lie_on_the_scans_own_grid(available, network, wide, tmp_path):
    given = {**SMALL, **network, "dataset_dir": str(wide / "prepared"), "output_dir": str(tmp_path)}
    run_here("train_selftrain", OVERLAY, run_id="training", **given, labels_dir=str(wide / "maps"))
    run_here("inference_selftrain", OVERLAY, **given, available=available, save_also="cams")
    run_here("evaluate", SEGMENTER, OVERLAY, **given, available=available)
    geometry = PreparedCase.open(wide / "prepared" / "cases" / "004").geometry
    for folder in ("masks", "cams/fused"):
        found = nib.load(tmp_path / folder / "004.nii.gz")
        assert found.shape == SHAPE
        np.testing.assert_allclose(found.affine, geometry.affine)
    assert 0 <= found.get_fdata().min() < found.get_fdata().max() <= 1
    assert (tmp_path / "summary.json").is_file()


def test_held_out_tags_are_compared_with_slices_of_its_volumes(wide):
    parser = merged("train_selftrain", OVERLAY, **SMALL, **places(wide))
    evaluator = parser.get_parsed_content("validate#evaluator")
    evaluator.run()
    network = parser.get_parsed_content("network").eval()
    reader = parser.get_parsed_content("cam_reader")
    inferer = merged("inference_selftrain", OVERLAY, **SMALL).get_parsed_content("inferer")
    inferer.reader = reader
    reading = merged(
        "evaluate", SEGMENTER, OVERLAY, **SMALL, dataset_dir=str(wide / "prepared"), split="validation"
    )
    (item,) = list(reading.get_parsed_content("dataset"))[:1]
    logits = inferer(item["image"][None], network, foreground=item["foreground"][None])["logits"][0, 0]
    case = PreparedCase.open(wide / "prepared" / "cases" / "003")
    tagged = (case.tags >= 0) & ~case.blank
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[tagged], torch.from_numpy(case.tags[tagged]).float()
    )
    assert evaluator.state.metrics["tag_cross_entropy"] == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("overlays", [(), (OVERLAY,)], ids=["2D", "3D"])
def test_several_gpus_take_a_network_of_either_dimension(overlays):
    parser = merged("train_selftrain", *overlays, "run_multi_gpu", device="$torch.device('cpu')", width=8)
    network = parser.get_parsed_content("network#module")
    weight = next(w for w in network.parameters() if w.ndim > 3 and w.shape[1] > 1 and w.shape[-1] > 1)
    assert weight.ndim == (5 if overlays else 4)
    assert overlays or weight.is_contiguous(memory_format=torch.channels_last)


def test_labels_of_slices_are_refused(wide):
    two_dimensional = {"training_slices": "bundle.data.PseudoLabelSliceDataset"}
    parser = merged("train_selftrain", OVERLAY, **SMALL, **places(wide), **two_dimensional)
    item = parser.get_parsed_content("train#dataset")[0]
    patch = torch.randn(1, 2, 16, 16, 8)
    inferer, network = (parser.get_parsed_content(name) for name in ("train#inferer", "network"))
    views = inferer(patch, network, foreground=torch.ones(1, 1, 16, 16, 8))
    with pytest.raises(ValueError, match=r"expected labels \(1, 1, 16, 16, 8\), .*network_selftrain3d.yaml"):
        parser.get_parsed_content("loss")(views, item["label"][None])


def test_a_training_of_no_end_is_refused(wide):
    parser = merged("train_selftrain", OVERLAY, **{**SMALL, "epoch_slices": 0}, **places(wide))
    with pytest.raises(RuntimeError) as error:
        parser.get_parsed_content("train#dataset")
    assert "`epochs` times `epoch_slices`" in str(root_cause(error.value))
