"""Imports point one way: parts know nothing of what is built from them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEVELS = [
    {"data", "equivariance", "networks", "pooling", "metrics"},
    {"configuration", "losses", "inferers", "refinement"},  # configuration reads lists as data does
    {"handlers"},
    {"chain"},
    {"comparison", "packing"},
    {"export", "label"},
]
LEVEL_OF = {name: level for level, names in enumerate(LEVELS) for name in names}
FILES = sorted((ROOT / "bundle").rglob("*.py"))


def imported_modules(source: str, package: str) -> set[str]:
    """Full names of all modules that a file imports, wherever in it, relative imports resolved."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def part_of(module: str) -> str | None:
    """Subpackage, or module beside them, of a full name in ``bundle``."""
    names = module.split(".")
    return names[1] if names[0] == "bundle" and len(names) > 1 else None


def imports_of(path: Path) -> set[str]:
    package = ".".join(path.relative_to(ROOT).parts[:-1])
    return imported_modules(path.read_text(encoding="utf-8"), package)


def own_part(path: Path) -> str | None:
    parts = path.relative_to(ROOT / "bundle").with_suffix("").parts
    return None if parts == ("__init__",) else parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_nothing_above_it(path):
    own = own_part(path)
    parts = {part for part in map(part_of, imports_of(path)) if part in LEVEL_OF}
    above = {part for part in parts if own is None or LEVEL_OF[part] > LEVEL_OF[own]}
    assert not above


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_bundle_knows_no_scripts_and_no_tests(path):
    assert not {module for module in imports_of(path) if module.split(".")[0] in ("scripts", "tests")}


def test_parts_of_one_level_do_not_import_each_other_in_circles():
    graph: dict[str, set[str]] = {name: set() for name in LEVEL_OF}
    for path in FILES:
        if own_part(path) is not None:
            found = {part for part in map(part_of, imports_of(path)) if part in LEVEL_OF}
            graph[own_part(path)] |= found - {own_part(path)}
    while free := {name for name, needed in graph.items() if not needed & set(graph)}:
        graph = {name: needed for name, needed in graph.items() if name not in free}
    assert not graph, f"these import each other: {graph}"


def test_every_part_has_its_level():
    assert {own_part(path) for path in FILES} - {None} <= set(LEVEL_OF)


def test_training_parts_do_not_read_masks_through_metrics():
    for part in ("data", "equivariance", "networks", "pooling", "losses"):
        for path in (ROOT / "bundle" / part).rglob("*.py"):
            assert "metrics" not in {part_of(module) for module in imports_of(path)}, path


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import bundle.handlers", "bundle.handlers"),
        ("from bundle import handlers", "bundle.handlers"),
        ("def f():\n    from bundle.handlers import RunState", "bundle.handlers"),
        ("from ..handlers import RunState", "bundle.handlers"),
        ("from .. import handlers", "bundle.handlers"),
        ("from . import unet", "bundle.networks.unet"),
    ],
)
def test_an_import_is_found_in_whatever_form(source, module):
    assert module in imported_modules(source, "bundle.networks")
