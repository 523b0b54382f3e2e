"""Which versions are claimed, which are tested, and what a pack tells of them."""

from __future__ import annotations

import json
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from bundle.configuration import BUNDLE_ROOT

PROJECT = tomllib.loads((BUNDLE_ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
TESTED = {
    (pin := Requirement(line)).name: str(pin.specifier).removeprefix("==")
    for line in (BUNDLE_ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
}


def requirements(lines: list[str]) -> list[Requirement]:
    found = [Requirement(line) for line in lines]
    return [one for one in found if one.name != PROJECT["name"]]


def test_what_the_metadata_names_is_what_is_tested():
    metadata = json.loads((BUNDLE_ROOT / "metadata.json").read_text())
    named = {"torch": metadata["pytorch_version"], "monai": metadata["monai_version"]}
    named |= metadata["required_packages_version"]
    assert named == {name: TESTED[name] for name in named}
    needed = {one.name for one in requirements([*PROJECT["dependencies"], *EXTRAS["demo"]])}
    assert needed == named.keys() | {"numpy"}


def test_what_is_tested_is_within_what_is_claimed():
    for one in requirements([*PROJECT["dependencies"], *EXTRAS["demo"]]):
        if one.name != "numpy":
            assert Version(TESTED[one.name]) in one.specifier, one


@pytest.mark.parametrize("extra", ["export", "track", "dev", "label"])
def test_the_other_extras_name_the_one_version_that_is_tested(extra):
    assert all(str(one.specifier).startswith("==") for one in requirements(EXTRAS[extra]))


def test_nothing_is_installed_but_what_the_project_needs():
    settings = tomllib.loads((BUNDLE_ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings == {"packages": []}
