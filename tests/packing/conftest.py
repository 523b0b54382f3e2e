"""A tiny run of each stage, packed; and the bundle as somebody has it who only unzipped it."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import pytest

from bundle.packing import PackOptions, pack
from tests.running import TRAINING, make_raw, prepare, run_here

NAME = "glioma_mri_weakly_supervised_segmentation"
SEEN = "squares in noise"


@pytest.fixture(scope="session")
def dataset_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packing")
    return prepare(make_raw(folder / "raw"), folder / "prepared", spatial_size=32)


@pytest.fixture(scope="session")
def trained(dataset_dir) -> Path:
    """The output folder of a training of classifiers that was evaluated."""
    places = {"dataset_dir": str(dataset_dir), "output_dir": str(dataset_dir.with_name("trained"))}
    run_here("train", **TRAINING, **places, epochs=1)
    run_here("evaluate", **{n: v for n, v in TRAINING.items() if n != "epoch_slices"}, **places)
    return Path(places["output_dir"])


@pytest.fixture(scope="session")
def segmenter(dataset_dir) -> Path:
    """The output folder of a training of a segmenter on the true masks, as maps."""
    maps, output_dir = dataset_dir.with_name("maps"), dataset_dir.with_name("segmenter")
    maps.mkdir()
    for case in ("001", "002", "003"):
        mask = nib.load(dataset_dir.with_name("raw") / case / f"{case}_seg.nii.gz")
        nib.save(nib.Nifti1Image(mask.get_fdata().astype("float32"), mask.affine), maps / f"{case}.nii.gz")
    options = {name: value for name, value in TRAINING.items() if name != "levels"}
    places = {"dataset_dir": str(dataset_dir), "labels_dir": str(maps), "output_dir": str(output_dir)}
    run_here("train_selftrain", **options, **places, epochs=1)
    return output_dir


def packed(run_dir: Path, **options) -> Path:
    """A run, packed and unzipped where nothing else lies."""
    output_dir = run_dir.with_name(f"{run_dir.name}_packed")
    made = pack(PackOptions(output_dir, run_dir, **{"seen": SEEN, **options}))
    unzipped = run_dir.with_name(f"{run_dir.name}_unzipped")
    with zipfile.ZipFile(made.archive) as archive:
        archive.extractall(unzipped)
    return unzipped / made.folder.name


@pytest.fixture(scope="session")
def bundle_dir(trained) -> Path:
    """A packed bundle of classifiers; copy it to change it."""
    return packed(trained)


@pytest.fixture(scope="session")
def segmenter_dir(segmenter) -> Path:
    return packed(segmenter)


@pytest.fixture
def own_copy(bundle_dir, tmp_path) -> Path:
    """The same, to be broken."""
    return shutil.copytree(bundle_dir, tmp_path / NAME)


@pytest.fixture
def packed_code(bundle_dir, tmp_path, monkeypatch) -> Iterator[Path]:
    """In another folder, with the packed bundle on the path and no other copy of its code imported."""
    own = {
        name: module for name, module in sys.modules.items() if name.split(".")[0] in ("bundle", "scripts")
    }
    for name in own:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(bundle_dir))
    monkeypatch.chdir(tmp_path)
    yield bundle_dir
    for name in [name for name in sys.modules if name.split(".")[0] in ("bundle", "scripts")]:
        del sys.modules[name]
    sys.modules.update(own)
