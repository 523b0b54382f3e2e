"""Every public name says what it is, and examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
from types import ModuleType

import pytest

import bundle

# What a server loads needs the extra `label`; its own tests run it.
SERVED = (
    set()
    if importlib.util.find_spec("monailabel")
    else {f"bundle.label.{name}" for name in ("app", "infer", "strategy", "train")}
)
MODULES = [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(bundle.__path__, prefix="bundle.")
    if found.name not in SERVED
]
PACKAGES = [module for module in MODULES if hasattr(module, "__path__")]
PUBLIC = [
    pytest.param(getattr(package, name), id=f"{package.__name__}.{name}")
    for package in PACKAGES
    for name in package.__all__
    if inspect.isclass(getattr(package, name)) or inspect.isroutine(getattr(package, name))
]
every_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_package_lists_its_names_in_order_and_has_them(package: ModuleType):
    assert len(set(package.__all__)) == len(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


@pytest.mark.parametrize("item", PUBLIC)
def test_a_public_name_has_a_docstring_of_its_own(item):
    text = vars(item).get("__doc__") if inspect.isclass(item) else item.__doc__
    assert text
    assert text.strip()
    assert not text.startswith(f"{item.__name__}("), "that is what a dataclass writes by itself"


@every_module
def test_a_module_says_what_it_holds(module: ModuleType):
    assert module.__doc__


@every_module
def test_examples_in_docstrings_are_true(module: ModuleType):
    assert doctest.testmod(module).failed == 0
