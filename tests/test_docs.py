"""The documents tell the truth: what they name exists, and what they show can be read."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bundle.data import read_tags
from bundle.metrics import EMPTY_POLICY
from scripts.baseline import baseline
from scripts.export import export
from scripts.label_app import label_app
from scripts.pack import pack_bundle
from scripts.prepare_data import prepare_data
from scripts.reproduce import reproduce
from scripts.run_chain import chain

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CODE = sorted(
    [*(ROOT / "bundle").rglob("*.py"), *(ROOT / "scripts").rglob("*.py"), *(ROOT / "configs").glob("*.yaml")]
)
MAIN = {
    name: yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    for name in ("train", "inference", "train_selftrain", "inference_selftrain")
}
RUN = {path.name: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "configs").glob("run_*.yaml"))}
IDS = {name for config in (*MAIN.values(), *RUN.values()) for name in config}
PREPARE = set(inspect.signature(prepare_data).parameters)
REPRODUCE = set(inspect.signature(reproduce).parameters)
CHAIN = set(inspect.signature(chain).parameters)
EXPORT = set(inspect.signature(export).parameters)
PACK = set(inspect.signature(pack_bundle).parameters)
LABEL = set(inspect.signature(label_app).parameters)
OF_SCRIPT = {
    "scripts.prepare_data": PREPARE,
    "scripts.reproduce": REPRODUCE,
    "scripts.run_chain": CHAIN | IDS,  # quoted flags are ids of its stages
    "scripts.label_app": LABEL,
    "scripts.baseline": set(inspect.signature(baseline).parameters),
    "scripts.benchmark": set[str](),
    "scripts.export": EXPORT | IDS,  # likewise
    "scripts.pack": PACK,
    "scripts.verify": set[str](),
}
# Options of other programs, and the slip that docs/configuration.md shows.
FOREIGN = {
    "array",
    "config_file",
    "standalone",
    "nproc_per_node",
    "rounds",
    "editable",
    "logdir",
    "help",
    "epoch",
    "tracking",
    *("args_file", "ckpt_file", "filepath", "input_shape"),  # of trt_export and onnx_export
    *("tracking_uri", "run_name", "experiment_name", "backend"),  # of MLflow
    *("app", "conf", "host", "port", "studies"),  # monailabel start_server
}

# Rows of the table of ids behind which another config's defaults stand.
SECTIONS = {"*inference*": "inference", "*self-training*": "train_selftrain"}

each_document = pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))


def prose(path: Path) -> str:
    """A document without its code blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def named(path: Path) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`\n]+)`", prose(path))


def anchors(path: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table_after(path: Path, first_heading: str) -> list[list[str]]:
    """Cells of the table whose first column is headed so."""
    text = path.read_text(encoding="utf-8")
    rows = text[text.index(f"| {first_heading} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@each_document
def test_every_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)]+)\)", prose(path)):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{path.name} links to {target}"


@each_document
def test_every_path_in_the_documents_exists(path):
    for name in named(path):
        if re.fullmatch(r"(bundle|configs|scripts|tests|docs)/[\w./\-]*", name):
            assert (ROOT / name).exists(), f"{path.name} names {name}"


@each_document
def test_every_part_of_the_bundle_in_the_documents_can_be_imported(path):
    for name in named(path):
        if not re.fullmatch(r"(bundle|scripts)(\.\w+)+", name):
            continue
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), f"{path.name} names {name}"


def test_every_test_named_in_the_documents_exists():
    known = {
        node.name
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    listed = {(path.name, name) for path in DOCS for name in named(path) if re.fullmatch(r"test_\w+", name)}
    assert {entry for entry in listed if entry[1] not in known} == set()
    assert len(listed) > 40


@each_document
def test_every_option_in_the_documents_exists(path):
    for name in re.findall(r"(?<![\w-])--(\w+)", path.read_text(encoding="utf-8")):
        known = PREPARE | REPRODUCE | CHAIN | EXPORT | PACK | LABEL | IDS | FOREIGN
        assert name in known, f"{path.name} names --{name}"


@each_document
def test_every_command_names_modules_files_and_options_that_exist(path):
    for block in blocks(path, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            options = set(re.findall(r"(?<![\w-])--(\w+)", line)) - FOREIGN
            for module in re.findall(r"python -m (scripts\.\w+)", line):
                assert importlib.util.find_spec(module), line
                assert options <= OF_SCRIPT[module], line
            for file in re.findall(r"configs/\w+\.yaml", line):
                assert (ROOT / file).is_file(), line
            if "monai.bundle" in line:
                main = "train" if "run training" in line else "inference"
                main += "_selftrain" if f"{main}_selftrain" in line else ""
                overlays = re.findall(r"configs/(run_\w+\.yaml)", line)
                assert options <= {*MAIN[main], *(name for overlay in overlays for name in RUN[overlay])}, (
                    line
                )
            if line.startswith("make "):
                target = line.split()[1]
                assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line


def test_what_the_readmes_commands_read_and_write_beside_it_is_kept_out_of_git():
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    commands = " ".join([*blocks(ROOT / "README.md", "bash"), *blocks(ROOT / "docs/packing.md", "bash")])
    found = set(re.findall(r"--(?:input_dir|output_dir|dataset_dir|tags) ([\w.]+)", commands))
    assert {"scans", "tags.csv", "prepared", "runs", "new_scans", "packed"} <= found
    for name in found:
        assert {f"/{name}", f"/{name}/"} & set(ignored), f"{name} could be committed"


def test_the_table_of_ids_gives_the_defaults_of_the_configs():
    config = MAIN["train"]
    rows = table_after(ROOT / "docs/configuration.md", "id")
    for name, _, default, _ in rows:
        if name in SECTIONS:
            config = MAIN[SECTIONS[name]]
            continue
        value = config[name.strip("`")]
        if not (isinstance(value, str) and value.startswith("$")):
            assert shown(value) == shown_cell(default), name


def shown(value: Any) -> list[Any]:
    """A default as the table shows it: a part by its class, a mapping by its names."""
    if isinstance(value, dict):
        return [value["_target_"].split(".")[-1]] if "_target_" in value else list(value)
    return [value]


def shown_cell(cell: str) -> list[Any]:
    return [yaml.safe_load(text) for text in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("first_heading", ["equation", "what"])
def test_every_method_names_a_class_an_id_and_a_test(first_heading):
    rows = table_after(ROOT / "docs/methods.md", first_heading)
    assert rows
    for row in rows:
        parts, ids, tests = (re.findall(r"`([^`]+)`", cell) for cell in row[2:5])
        assert parts, row
        assert tests, row
        assert ids, row
        assert set(ids) <= IDS, row


def test_the_policy_for_empty_masks_is_quoted():
    text = " ".join((ROOT / "docs/data.md").read_text(encoding="utf-8").split())
    for sentence in EMPTY_POLICY:
        assert sentence in text


@each_document
def test_examples_of_tags_and_lists_can_be_read(path, tmp_path):
    for block in blocks(path, "csv"):
        (tmp_path / "tags.csv").write_text(block)
        assert read_tags(tmp_path / "tags.csv").cases
    for block in blocks(path, "json"):
        json.loads(block)
    for block in blocks(path, "yaml"):
        yaml.safe_load(block)


def test_documents_named_in_the_code_exist():
    for file in CODE:
        for name in re.findall(r"\bdocs/[\w/\-]+\.md", file.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), f"{file.name} names {name}"
