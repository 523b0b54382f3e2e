"""Both stages, trained for some steps, on a cohort of two modalities."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.running import TRAINING, make_raw, prepare, run_here

SIZE = {"cam": {"width": 2, "levels": 1}, "segmenter": {"width": 4}}


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> dict[str, Path]:
    """``data``, and the output folders ``cam`` and ``segmenter``."""
    folder = tmp_path_factory.mktemp("export")
    found = {name: folder / name for name in ("data", "cam", "segmenter")}
    prepare(make_raw(folder / "raw"), found["data"], spatial_size=32)
    shared = {**TRAINING, "epochs": 1, "dataset_dir": str(found["data"])}
    run_here("train", **shared, output_dir=str(found["cam"]))
    run_here(
        "inference",
        **{name: value for name, value in shared.items() if name not in ("epochs", "epoch_slices")},
        output_dir=str(found["cam"]),
        split="train",
        save_also="cams",
    )
    del shared["levels"]
    shared |= SIZE["segmenter"]
    run_here(
        "train_selftrain",
        **shared,
        output_dir=str(found["segmenter"]),
        labels_dir=str(found["cam"] / "cams" / "fused"),
    )
    return found
