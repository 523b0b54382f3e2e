"""Parts as the shipped configs make them, so that what is measured is what users run."""

from __future__ import annotations

from typing import Any

from monai.bundle import ConfigParser

from bundle.configuration import CONFIG_DIR
from scripts.benchmarks.options import BenchmarkOptions


def configured(file: str, options: BenchmarkOptions, names: list[str], **changes: Any) -> ConfigParser:
    """A parser of one of `configs/`, whose items are made when they are asked for.

    Args:
        file: ``train.yaml`` or ``inference.yaml``.
        options: shapes.
        names: modalities.
        changes: further top-level ids, as a command line would give them.
    """
    parser = ConfigParser()
    parser.read_config(CONFIG_DIR / file)
    given = {"modalities": names, "width": options.width, "levels": options.levels}
    for name, value in {**given, "batch_size": options.batch_size, **changes}.items():
        parser[name] = value
    parser.parse()
    return parser
