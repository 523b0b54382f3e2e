"""A case in the cache is whole or absent, and reads through memory maps."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bundle.data.cache import PreparedCase, write_case
from bundle.data.slices import foreground_statistics, to_slices
from bundle.data.volumes import CaseVolumes

FILES = {"flair": "a.nii.gz", "t1c": "b.nii.gz"}
AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])


def volumes(dtype: type = np.int16) -> CaseVolumes:
    """6 x 8 x 3 with a body of 4 x 4 on background 0 in slices 1 and 2."""
    image = np.zeros((2, 6, 8, 3), dtype=dtype)
    image[:, 1:5, 2:6, 1:] = np.arange(1, 65).reshape(2, 4, 4, 2)
    return CaseVolumes("017", image, AFFINE)


def test_what_was_written_reads_back(tmp_path):
    folder = write_case(tmp_path, volumes(), [0, 1, -1], None, "HGG", FILES)
    case = PreparedCase.open(folder)
    assert folder == tmp_path / "cases" / "017"
    assert (case.case, case.modalities, case.stratum, case.slices) == ("017", ["flair", "t1c"], "HGG", 3)
    assert case.tags.tolist() == [0, 1, -1]
    assert case.blank.tolist() == [True, False, False]
    assert case.image.shape == (3, 2, 8, 8)
    assert case.image.dtype == np.int16  # nothing was resampled
    assert case.image.flags.c_contiguous
    restored = case.geometry.restore(np.array(case.image).swapaxes(0, 1))
    np.testing.assert_array_equal(restored, volumes().image)


def test_resized_slices_are_float_and_square(tmp_path):
    case = PreparedCase.open(write_case(tmp_path, volumes(), None, 4, None, FILES))
    assert (case.image.shape, case.image.dtype) == ((3, 2, 4, 4), np.float32)
    assert case.foreground.shape == (3, 4, 4)
    assert case.tags.tolist() == [-1, -1, -1]


def test_arrays_are_mapped_not_loaded_and_stay_behind_when_a_worker_gets_the_case(tmp_path):
    case = PreparedCase.open(write_case(tmp_path, volumes(), None, None, None, FILES))
    assert isinstance(case.image.base, np.memmap)
    assert not case.image.flags.writeable
    sent = pickle.loads(pickle.dumps(case))
    assert not sent._arrays
    np.testing.assert_array_equal(sent.image, case.image)


def test_statistics_are_those_of_the_clipped_foreground():
    # 0 to 200 in the foreground: percentiles 0.5 and 99.5 are 1 and 199, so 0 becomes 1 and 200 becomes 199.
    image = np.full((1, 1, 1, 300), -1000.0, dtype=np.float32)
    image[0, 0, 0, :201] = np.arange(201)
    clipped = np.array([1, *range(1, 200), 199], dtype=float)
    found = foreground_statistics(image, image[0] > -1000)
    np.testing.assert_allclose(found, [[1, 199, clipped.mean(), clipped.std()]], rtol=1e-6)


def test_statistics_are_taken_before_anything_is_resized():
    small, whole = to_slices(volumes(), 4), to_slices(volumes(), None)
    np.testing.assert_array_equal(small.statistics, whole.statistics)


def test_a_foreground_that_came_with_the_case_is_used():
    given = np.zeros((6, 8, 3), dtype=bool)
    given[2, 3, 2] = True
    arrays = to_slices(replace(volumes(), foreground=given))
    assert arrays.foreground.sum() == 1
    assert arrays.blank.tolist() == [True, True, False]


def test_an_empty_foreground_is_refused():
    empty = replace(volumes(), foreground=np.zeros((6, 8, 3), dtype=bool))
    with pytest.raises(ValueError, match=r"case 017: the foreground is empty.*correct the foreground file"):
        to_slices(empty)


def test_padding_has_the_background_of_its_modality():
    image = volumes(np.float32).image
    image[1] -= 5  # the background of the second modality is -5
    padded = to_slices(CaseVolumes("017", image, AFFINE)).image
    assert padded[0, 0, 0, 0] == 0
    assert padded[0, 1, 0, 0] == -5
    assert not to_slices(CaseVolumes("017", image, AFFINE)).foreground[:, 0].any()


def test_a_case_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    def broken(path: Path, array: np.ndarray) -> None:
        if "foreground" in str(path):
            raise OSError("the plug was pulled")
        original(path, array)

    original = np.save
    monkeypatch.setattr(np, "save", broken)
    with pytest.raises(OSError, match="plug"):
        write_case(tmp_path, volumes(), None, None, None, FILES)
    assert not list(tmp_path.rglob("*.npy"))
    assert not (tmp_path / "cases").exists()


def test_writing_again_replaces_the_case_as_a_whole(tmp_path):
    write_case(tmp_path, volumes(), None, None, None, FILES)
    folder = write_case(tmp_path, volumes(), [1, 1, 1], 4, None, FILES)
    assert sorted(path.name for path in folder.iterdir()) == ["case.json", "foreground.npy", "image.npy"]
    assert PreparedCase.open(folder).image.shape[-1] == 4
    assert not list((tmp_path / ".partial").iterdir())


def test_the_same_case_gives_the_same_bytes(tmp_path, contents):
    for name in ("a", "b"):
        write_case(tmp_path / name, volumes(), [0, 1, -1], 4, None, FILES)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_mask_is_not_looked_at(tmp_path, contents):
    noise = np.random.default_rng(0).integers(0, 2, (6, 8, 3)).astype(np.uint8)
    write_case(tmp_path / "a", volumes(), None, 4, None, FILES)
    write_case(tmp_path / "b", replace(volumes(), mask=noise), None, 4, None, FILES)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_missing_case_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"case 018: .*scripts\.prepare_data"):
        PreparedCase.open(tmp_path / "018")


def test_an_unknown_modality_gets_the_nearest_name(tmp_path):
    case = PreparedCase.open(write_case(tmp_path, volumes(), None, None, None, FILES))
    assert case.channels(["t1c", "flair"]) == [1, 0]
    with pytest.raises(ValueError, match=r"case 017: modality flare was not prepared.*did you mean flair\?"):
        case.channels(["flare"])


def test_case_json_is_what_the_documentation_says(tmp_path):
    folder = write_case(tmp_path, volumes(), None, None, "LGG", FILES)
    described = json.loads((folder / "case.json").read_text())
    assert set(described) == {
        "case",
        "modalities",
        "stratum",
        "files",
        "geometry",
        "statistics",
        "tags",
        "blank",
    }
    assert set(described["statistics"]["flair"]) == {"low", "high", "mean", "std"}
