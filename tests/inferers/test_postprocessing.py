"""From maps to files: fusion, the scan's own grid."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch

from bundle.data import SliceGeometry
from bundle.inferers import FuseMapsd, RestoreToScand, SavePredictionsd

SHAPE = (20, 24, 6)  # all different, so that a mix-up of axes shows
AFFINES = {
    "RAS": np.diag([1.0, 1.0, 3.0, 1.0]),
    "LPS": np.diag([-1.0, -1.0, 3.0, 1.0]),
    "rows and columns exchanged": np.array(
        [[0.0, -1.5, 0.0, 7.0], [0.8, 0.0, 0.0, -3.0], [0.0, 0.0, 3.0, 1.0], [0.0, 0.0, 0.0, 1.0]]
    ),
    "sagittal": np.array(
        [[0.0, 0.0, 4.0, 5.0], [-1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 0.0, -9.0], [0.0, 0.0, 0.0, 1.0]]
    ),
}
NAMES = ["flair", "t1c", "fused"]


def blob() -> np.ndarray:
    """A box off every centre."""
    volume = np.zeros(SHAPE, dtype=np.float32)
    volume[3:9, 12:21, 2:4] = 1
    return volume


def predicted(affine: np.ndarray, spatial_size: int | None = None) -> dict:
    """A case as the data loader and the inferer give it; one branch finds the blob, the other nothing."""
    geometry = SliceGeometry.from_scan(SHAPE, affine, spatial_size)
    slices = torch.from_numpy(geometry.apply(blob())).permute(1, 2, 0)  # (H, W, S)
    cams = torch.stack([0.9 * slices, torch.zeros_like(slices)])
    logits = torch.tensor([[2.0, 0.0, -2.0, 1.0, 0.0, 0.0], [0.0] * 6])
    pred = {"cam": cams, "logits": logits}
    return {
        "case": "017",
        "geometry": json.dumps(geometry.to_dict()),
        "image": slices[None],
        "foreground": torch.ones_like(slices)[None],
        "pred": pred,
    }


def test_outside_the_foreground_the_picture_is_as_dark_as_the_darkest_tissue():
    data = FuseMapsd()(predicted(AFFINES["RAS"]))
    data["image"] = torch.where(data["image"] > 0, 3.0, -2.0)
    data["foreground"] = (data["image"] > 0).float()
    data["image"] = data["image"] * data["foreground"]  # normalised: 0 outside
    data["image"][0, 0, 0, 0], data["foreground"][0, 0, 0, 0] = -2.0, 1.0  # one dark voxel of tissue
    assert set(RestoreToScand()(data)["image"].unique().tolist()) == {-2.0, 3.0}


def test_fusion_is_the_maximum_and_comes_last():
    cams = torch.tensor([[0.1, 0.8, 0.0], [0.6, 0.2, 0.0]]).reshape(2, 1, 1, 3)
    found = FuseMapsd()(
        {"pred": {"cam": cams, "logits": torch.tensor([[0.0, 2.0, -2.0]] * 2)}, "case": "017"}
    )
    assert found["cams"].shape == (3, 1, 1, 3)
    assert found["cams"][-1].flatten().tolist() == pytest.approx([0.6, 0.8, 0.0])
    assert torch.equal(found["cams"][:-1], cams)
    assert found["probabilities"][0].tolist() == pytest.approx([0.5, 0.8808, 0.1192], abs=1e-4)
    assert "pred" not in found
    assert found["case"] == "017"


def test_one_branch_is_its_own_fusion():
    cams = torch.rand(1, 4, 4, 2)
    found = FuseMapsd()({"pred": {"cam": cams, "logits": torch.zeros(1, 2)}})
    assert torch.equal(found["cams"], cams.repeat(2, 1, 1, 1))


@pytest.mark.parametrize("name", AFFINES)
def test_maps_come_back_to_where_they_were_on_the_scan(name):
    found = RestoreToScand()(FuseMapsd()(predicted(AFFINES[name])))
    assert found["cams"].shape == (3, *SHAPE)
    assert torch.equal(found["cams"][2], 0.9 * torch.from_numpy(blob()))
    assert torch.equal(found["image"][0], torch.from_numpy(blob()))
    assert not found["cams"][1].any()
    assert np.array_equal(found["affine"], AFFINES[name])
    assert found["spacing_mm"] == pytest.approx(np.linalg.norm(AFFINES[name][:3, :3], axis=0))


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("spatial_size", [16, 48])
def test_resized_maps_come_back_to_within_a_pixel(name, spatial_size):
    cams = RestoreToScand()(FuseMapsd()(predicted(AFFINES[name], spatial_size)))["cams"]
    found, expected = np.argwhere(cams[2].numpy() > 0.45), np.argwhere(blob())
    assert found.mean(axis=0) == pytest.approx(expected.mean(axis=0), abs=0.5)
    assert len(found) == pytest.approx(len(expected), rel=0.2)


def save(tmp_path, threshold: float = 0.5, **options) -> dict:
    data = RestoreToScand()(FuseMapsd()(predicted(AFFINES["LPS"])))
    return SavePredictionsd(tmp_path, NAMES, **options)({**data, "masks": (data["cams"] > threshold).byte()})


def files(folder) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", AFFINES)
def test_the_foreground_comes_back_with_the_maps(name):
    data = FuseMapsd()(predicted(AFFINES[name], 16))
    data["foreground"] = (data["cams"][:1] > 0.45).float()
    found = RestoreToScand()(data)["foreground"]
    assert (found.dtype, found.shape) == (torch.uint8, (1, *SHAPE))
    overlap = (found[0].numpy() > 0) & (blob() > 0)
    assert 2 * overlap.sum() / (found.sum() + blob().sum()) > 0.8


def test_the_fused_mask_is_written_as_bytes_on_the_scans_grid_and_affine(tmp_path):
    data = save(tmp_path)
    assert files(tmp_path) == {"masks/017.nii.gz"}
    mask = nib.load(tmp_path / "masks" / "017.nii.gz")
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(mask.affine, AFFINES["LPS"])
    assert np.array_equal(np.asarray(mask.dataobj), blob().astype(np.uint8))
    assert data["case"] == "017"


def test_the_masks_are_written_as_they_come(tmp_path):
    save(tmp_path, threshold=0.95)
    assert not np.asarray(nib.load(tmp_path / "masks" / "017.nii.gz").dataobj).any()


def test_masks_maps_and_probabilities_are_written_on_request(tmp_path):
    save(tmp_path, extras=["masks", "cams", "probabilities"])
    masks = {f"masks/{name}/017.nii.gz" for name in NAMES[:-1]} | {"masks/017.nii.gz"}
    assert files(tmp_path) == masks | {f"cams/{name}/017.nii.gz" for name in NAMES} | {
        "probabilities/017.csv"
    }
    cam = nib.load(tmp_path / "cams" / "flair" / "017.nii.gz")
    assert cam.get_data_dtype() == np.float32
    assert np.array_equal(cam.get_fdata(dtype=np.float32), np.float32(0.9) * blob())
    assert not np.asarray(nib.load(tmp_path / "masks" / "t1c" / "017.nii.gz").dataobj).any()


def test_a_branch_that_is_missing_now_leaves_no_file_of_an_earlier_run(tmp_path):
    extras = ["masks", "cams"]
    save(tmp_path, extras=extras)
    before = files(tmp_path)
    data = RestoreToScand()(FuseMapsd()(predicted(AFFINES["LPS"])))
    data |= {"masks": (data["cams"] > 0.5).byte(), "present": [True, False, True]}
    SavePredictionsd(tmp_path, NAMES, extras)(data)
    assert before - files(tmp_path) == {"masks/t1c/017.nii.gz", "cams/t1c/017.nii.gz"}


def test_probabilities_are_a_row_a_slice_and_a_column_a_modality(tmp_path):
    save(tmp_path, extras=["probabilities"])
    with (tmp_path / "probabilities" / "017.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["slice", "flair", "t1c"]
    assert len(rows) == 1 + SHAPE[2]
    assert rows[3] == ["2", "0.1192", "0.5000"]  # 1 / (1 + e^2)


def test_a_write_that_fails_leaves_the_earlier_mask(tmp_path, monkeypatch):
    save(tmp_path)
    before = (tmp_path / "masks" / "017.nii.gz").read_bytes()

    def fail(image, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nib, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path, threshold=0.95)
    assert (tmp_path / "masks" / "017.nii.gz").read_bytes() == before


def test_unknown_extras_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"save_also: expected some of masks, cams, probabilities, got \['maps'\]"
    ):
        SavePredictionsd(tmp_path, NAMES, extras=["maps"])


def test_as_many_names_as_maps(tmp_path):
    data = RestoreToScand()(FuseMapsd()(predicted(AFFINES["RAS"])))
    with pytest.raises(ValueError, match="argument 2 is longer"):
        SavePredictionsd(tmp_path, ["flair", "fused"])({**data, "masks": data["cams"].byte()})


def test_some_branches_are_fused_beside_all_of_them():
    maps = torch.tensor([0.1, 0.9, 0.5])[:, None, None, None].expand(3, 2, 2, 1)
    pred = {"cam": maps, "logits": torch.zeros(3, 1)}
    fused = FuseMapsd(names=["t1", "t2", "flair"], groups=["t1-flair", "t1-t2"])({"pred": pred})["cams"]
    assert fused[:, 0, 0, 0].tolist() == pytest.approx([0.1, 0.9, 0.5, 0.5, 0.9, 0.9])


def test_a_group_names_branches_that_are_there():
    with pytest.raises(ValueError, match="also_fuse 't1-flare': 'flare' is no branch; did you mean flair"):
        FuseMapsd(names=["t1", "flair"], groups=["t1-flare"])
