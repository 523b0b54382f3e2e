"""The phantom: a cohort that depends on its seed alone and shows in each modality what glioma shows."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from torch.nn.functional import avg_pool2d, interpolate, pad

from bundle.data.phantom import _plan_cohort, make_phantom
from bundle.data.phantom_anatomy import draw_anatomy, load_template, smooth_noise, template_grid
from bundle.data.readers import find_brats

MODALITIES = ("t1", "t1ce", "t2", "flair")
COARSE_MM = 5.0


def make(folder: Path, **options) -> Path:
    return make_phantom(
        folder, **{"subjects": (3, 0, 5), "spacing_mm": COARSE_MM, "progress": False, **options}
    )


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def volume(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def read(root: Path, split: str) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Stratum, z-scores inside the brain (modality first), labels and brain of each case of a split."""
    cases = []
    for case in json.loads((root / "splits.json").read_text())[split]:
        folder = next(root.glob(f"*/{case}"))
        image = np.stack([volume(folder / f"{case}_{m}.nii.gz") for m in MODALITIES]).astype(np.float32)
        brain = image[0] > 0
        mean, std = (f(image[:, brain], axis=1)[:, None, None, None] for f in (np.mean, np.std))
        labels = volume(folder / f"{case}_seg.nii.gz")
        cases.append((folder.parent.name, (image - mean) / std * brain, labels, brain))
    return cases


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="module")
def cases(root) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    return read(root, "train") + read(root, "test")


def test_one_seed_gives_one_cohort_whatever_the_number_of_workers(root, tmp_path):
    assert files(make(tmp_path, workers=1)) == files(root)


def test_another_seed_gives_another_cohort(root, tmp_path):
    other = make(tmp_path, seed=1, subjects=(1, 0, 0))
    mine, yours = next(root.rglob("*_flair.nii.gz")), next(other.rglob("*_flair.nii.gz"))
    assert mine.name != yours.name
    assert not np.array_equal(volume(mine), volume(yours))


def test_the_brats_reader_finds_every_case_and_its_stratum(root):
    records = find_brats(root, ["flair", "t1c"])
    assert len(records) == 8
    assert all(record.mask is not None and list(record.images) == ["flair", "t1c"] for record in records)
    assert {(record.stratum or "").lower() for record in records} == {"hgg", "lgg", "healthy"}


def test_each_split_of_five_has_every_stratum_and_splits_share_no_case(root):
    splits = json.loads((root / "splits.json").read_text())
    assert {name: len(cases) for name, cases in splits.items()} == {"train": 3, "validation": 0, "test": 5}
    assert len(set(splits["train"]) | set(splits["test"])) == 8
    assert {stratum for stratum, *_ in read(root, "test")} == {"HGG", "LGG", "healthy"}


def test_a_fifth_of_the_default_cohort_is_healthy():
    cohort = _plan_cohort((24, 6, 12), 0)
    healthy = [sum(s.stratum == "healthy" for s in cohort[name]) for name in ("train", "validation", "test")]
    assert healthy == [5, 1, 2]  # a fifth of 24, 6 and 12


def test_scans_are_positive_int16_inside_one_brain_and_0_outside(root):
    record = find_brats(root, ["t1", "t1c", "t2", "flair"])[0]
    images = [nib.load(source.path) for source in record.images.values()]
    arrays = [np.asarray(image.dataobj) for image in images]
    assert all(array.dtype == np.int16 and array.min() == 0 for array in arrays)
    assert all(np.array_equal(array > 0, arrays[0] > 0) for array in arrays)
    assert nib.aff2axcodes(images[0].affine) == ("L", "P", "S")  # as BraTS stores its scans
    assert np.allclose(images[0].header.get_zooms(), COARSE_MM)


def test_healthy_subjects_have_empty_masks_and_patients_do_not(cases):
    assert all((stratum == "healthy") == (not labels.any()) for stratum, _, labels, _ in cases)


def test_high_grade_has_a_rim_around_a_core_inside_oedema_and_low_grade_has_no_rim(cases):
    for stratum, _, labels, brain in cases:
        assert not labels[~brain].any()
        if stratum == "LGG":
            assert set(np.unique(labels)) <= {0, 1, 2}
        if stratum == "HGG":
            assert set(np.unique(labels)) == {0, 1, 2, 4}
            core = np.argwhere(labels == 1)
            neighbours = [
                labels[tuple((core + step * axis).T)] for axis in np.eye(3, dtype=int) for step in (-1, 1)
            ]
            assert set(np.unique(neighbours)) <= {1, 4}  # the rim encloses the core


def test_whole_tumours_are_as_large_as_gliomas(cases):
    volumes = [(labels > 0).sum() * COARSE_MM**3 / 1000 for _, _, labels, _ in cases if labels.any()]
    assert min(volumes) > 15
    assert max(volumes) < 190


def test_each_modality_shows_the_lesion_in_its_own_way(cases):
    high = [
        (dict(zip(MODALITIES, z, strict=True)), labels, brain) for g, z, labels, brain in cases if g == "HGG"
    ]

    def mean(modality: str, label: int) -> float:
        values = [
            (z[modality][labels == label].mean(), z[modality][brain & (labels == 0)].mean())
            for z, labels, brain in high
        ]
        return float(np.mean([inside - healthy for inside, healthy in values]))

    assert -1.2 < mean("t1", 2) < 0.5  # hardly, in units of the brain's standard deviation
    assert mean("t1ce", 4) > 2  # the rim ...
    assert mean("t1ce", 4) > mean("t1ce", 1) + 2  # ... and nothing else
    assert mean("t1ce", 4) > mean("t1ce", 2) + 2
    assert min(mean("t2", label) for label in (1, 2, 4)) > 0.8  # all of it
    assert mean("flair", 2) > 1.5  # oedema above all
    assert mean("flair", 2) > mean("flair", 1)


def test_fluid_is_as_bright_as_the_lesion_in_t2_and_dark_in_flair(cases):
    for _, z, labels, brain in cases:
        fluid = brain & (labels == 0) & (z[MODALITIES.index("t2")] > 2.5)
        assert fluid.sum() > 20
        assert z[MODALITIES.index("flair")][fluid].mean() < 0


def test_smooth_fields_and_heads_are_the_same_at_every_spacing():
    coarse, fine = template_grid(6.0), template_grid(3.0)
    fields = [smooth_noise(grid, 20, np.random.default_rng(0)) for grid in (coarse, fine)]
    even = tuple(slice(0, 2 * n, 2) for n in coarse.shape)
    assert np.allclose(fields[1][even][: coarse.shape[0]], fields[0], atol=1e-5)
    assert abs(fields[0].std() - 1) < 0.15
    volumes = [draw_anatomy(g, np.random.default_rng(0)).brain.sum() * g.voxel_ml for g in (coarse, fine)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.02)


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        ({"subjects": (3, 1)}, r"three counts"),
        ({"subjects": (3, -1, 1)}, r"three counts"),
        ({"subjects": (0, 0, 0)}, r"three counts"),
        ({"spacing_mm": 20.0}, r"spacing_mm must lie between 0\.5 and 8 mm, found 20"),
        ({"seed": -1}, r"seed must not be negative, found -1"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path, options, finding):
    with pytest.raises(ValueError, match=finding):
        make(tmp_path, **options)
    assert not any(tmp_path.iterdir())


def best_threshold_dice(cases, modality: str) -> float:
    """Mean Dice in % over patients at the one threshold that is best for all of them."""
    patients = [
        (z[MODALITIES.index(modality)][b], labels[b] > 0) for _, z, labels, b in cases if labels.any()
    ]
    curve = [
        np.mean(
            [200 * (truth & (x > level)).sum() / (truth.sum() + (x > level).sum()) for x, truth in patients]
        )
        for level in np.arange(0, 4, 0.1)
    ]
    return float(max(curve))


@pytest.fixture(scope="module")
def full_size(tmp_path_factory) -> Path:
    """The default cohort: 24, 6 and 12 subjects at 2 mm."""
    return make_phantom(tmp_path_factory.mktemp("full_size"), progress=False)


@pytest.mark.slow
def test_thresholds_find_the_lesion_as_badly_as_in_real_glioma(full_size):
    cases = [case for split in ("train", "validation", "test") for case in read(full_size, split)]
    assert 65 <= best_threshold_dice(cases, "flair") <= 80
    assert 40 <= best_threshold_dice(cases, "t2") <= 60
    assert best_threshold_dice(cases, "t1") < 30


@pytest.mark.slow
def test_a_network_with_masks_segments_it_as_well_as_real_glioma(full_size):
    """Dice + cross-entropy on the four modalities at 4 mm in the plane; takes about four minutes on two cores."""

    def slices(case, step: int):
        _, z, labels, brain = case
        some = np.flatnonzero(brain.any((0, 1)))[::step]
        image = torch.from_numpy(z[..., some]).permute(3, 0, 1, 2)
        truth = torch.from_numpy(labels[..., some] > 0).permute(2, 0, 1)[:, None].float()
        _, _, rows, columns = image.shape
        return [pad(part, (0, 128 - columns, 0, 128 - rows)) for part in (image, truth)]

    train = [slices(case, 2) for case in read(full_size, "train")]
    images, truths = (avg_pool2d(torch.cat(parts), 2) for parts in zip(*train, strict=True))
    truths = (truths > 0.5).float()
    torch.manual_seed(0)
    net = BasicUNet(2, 4, 1, features=(16, 16, 32, 64, 128, 16), norm="batch")
    net = net.to(memory_format=torch.channels_last)
    epochs, batches = 6, -(-len(images) // 16)
    optimizer = torch.optim.AdamW(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * batches)
    loss_function = DiceCELoss(sigmoid=True, batch=True)
    for _ in range(epochs):
        for index in torch.randperm(len(images)).split(16):
            loss = loss_function(net(images[index]), truths[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    net.eval()
    dice = []
    for image, truth in (slices(case, 1) for case in read(full_size, "test")):
        if truth.any():
            with torch.no_grad():
                found = interpolate(net(avg_pool2d(image, 2)), scale_factor=2, mode="bilinear") > 0
            dice.append(200 * float((found * truth).sum() / (found.sum() + truth.sum())))
    assert 85 <= np.mean(dice) <= 93, dice


def test_without_nilearn_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"found no nilearn; run `pip install '\.\[demo\]'`"):
        load_template.__wrapped__()
