"""A packed bundle passes every check; a broken one fails the check that is meant for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bundle.packing import PackOptions, checks, pack
from bundle.packing.demands import REQUIRED, metadata_faults, metadata_schema
from bundle.packing.verify import verify, verify_files, verify_workflows
from scripts.verify import verify_bundle
from tests.conftest import make_scan, write_case_files
from tests.running import TRAINING, prepare, run_here


def change(file: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def metadata(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda folder: change(folder / "configs" / "metadata.json", edit)


def card(edit: Callable[[str], str]) -> Callable[[Path], Any]:
    def apply(folder: Path) -> None:
        file = folder / "docs" / "README.md"
        file.write_text(edit(file.read_text()))

    return apply


BROKEN = {
    "no licence": (lambda f: (f / "LICENSE").unlink(), "files", "expected LICENSE, found none"),
    "no inference": (lambda f: (f / "configs/inference.json").unlink(), "files", "configs/inference.json"),
    "a name in words": (lambda f: f.rename(f.with_name("Glioma")), "name", "'Glioma'; rename the folder"),
    "no authors": (metadata(lambda m: m.pop("authors")), "metadata", "authors is missing"),
    "a number as version": (
        metadata(lambda m: m.update(version=1)),
        "metadata",
        "version is int, expected str",
    ),
    "no output": (
        metadata(lambda m: m["network_data_format"].update(outputs={})),
        "metadata",
        "network_data_format#outputs is missing",
    ),
    "an unknown version": (
        metadata(lambda m: m.update(version="9.9.9")),
        "version",
        "version 9.9.9 is not in",
    ),
    "a range": (
        metadata(lambda m: m["required_packages_version"].update(scipy=">=1.10")),
        "packages",
        "found scipy >=1.10",
    ),
    "an untold origin": (card(lambda text: text.partition("\n")[2]), "documents", "expected a first line"),
    "no performance": (
        card(lambda text: text.replace("## Performance", "## Scores")),
        "documents",
        "sections Performance are missing",
    ),
    "an empty data licence": (
        lambda f: (f / "docs/data_license.txt").write_text(""),
        "documents",
        "empty file",
    ),
    "no changelog": (metadata(lambda m: m.update(changelog=None)), "version", "should be of the types"),
    "a list as version": (metadata(lambda m: m.update(version=["1"])), "version", "should be of the types"),
    "no packages": (
        metadata(lambda m: m.update(required_packages_version=None)),
        "packages",
        "required_packages_version in configs/metadata.json should be of the types",
    ),
    "a list as metadata": (
        lambda f: (f / "configs/metadata.json").write_text("[]"),
        "metadata",
        "expected an object, found list",
    ),
    "another encoding": (
        lambda f: (f / "docs/README.md").write_bytes("Weights trained on Köln".encode("latin-1")),
        "documents",
        "docs/README.md: expected UTF-8",
    ),
    "an empty list of large files": (
        lambda f: (f / "large_files.yml").write_text(""),
        "sizes",
        "large_files.yml: expected large_files, a list with path and hash_val",
    ),
    "a large file without its checksum": (
        lambda f: (f / "large_files.yml").write_text("large_files: [{path: models/model.pt}]"),
        "sizes",
        "large_files.yml: expected large_files, a list with path and hash_val",
    ),
    "an emptied list of checksums": (
        lambda f: (f / "checksums.sha256").write_text(""),
        "checksums",
        "checksums.sha256 does not list bundle/",
    ),
    "weights that no checksum knows": (
        lambda f: (f / "checksums.sha256").write_text(
            "".join(
                line
                for line in (f / "checksums.sha256").read_text().splitlines(keepends=True)
                if "model.pt" not in line
            )
        ),
        "checksums",
        "does not list models/model.pt",
    ),
    "an added module": (
        lambda f: (f / "bundle/networks/added.py").write_text("0"),
        "checksums",
        "does not list bundle/networks/added.py",
    ),
    "a changed module": (
        lambda f: (f / "bundle/networks/unet.py").write_text("0"),
        "checksums",
        "bundle/networks/unet.py was changed after packing",
    ),
    "a lost module": (
        lambda f: (f / "bundle/networks/unet.py").unlink(),
        "checksums",
        "bundle/networks/unet.py was packed and is missing",
    ),
    "no JSON": (lambda f: (f / "configs/metadata.json").write_text("{"), "metadata", "no JSON at line 1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_bundle_fails_the_check_that_is_meant_for_it(name, own_copy):
    spoil, check, fault = BROKEN[name]
    spoil(own_copy)
    folder = own_copy if own_copy.is_dir() else own_copy.with_name("Glioma")
    failed = {finding.check: finding.told for finding in verify_files(folder) if not finding.ok}
    assert fault in failed[check]
    assert ";" in failed[check], "a remedy"


def test_a_file_above_the_limit_must_be_listed(own_copy, monkeypatch):
    limit = max(path.stat().st_size for path in own_copy.rglob("*"))
    monkeypatch.setattr(checks, "LARGE_BYTES", limit)
    (own_copy / "models" / "more.pt").write_bytes(b"0" * (limit + 1))
    failed = {finding.check: finding.told for finding in verify_files(own_copy) if not finding.ok}
    assert "models/more.pt has" in failed["sizes"]
    (own_copy / "large_files.yml").write_text(
        "large_files:\n- {path: models/more.pt, url: '', hash_val: '0', hash_type: sha256}\n"
    )
    failed = {finding.check: finding.told for finding in verify_files(own_copy) if not finding.ok}
    assert "models/more.pt is not the file that large_files.yml means" in failed["sizes"]


@pytest.mark.parametrize("kind", ["bundle_dir", "segmenter_dir"])
def test_a_packed_bundle_passes_every_check_and_stays_as_it_was(kind, request, contents):
    folder = request.getfixturevalue(kind)
    before = contents(folder)
    found = verify(folder)
    assert [str(finding) for finding in found if not finding.ok] == []
    assert [finding.check for finding in found[len(checks.CHECKS) :]] == [
        *(
            "fake data",
            "properties",
            "intensities",
            "network",
            "torchscript",
            "training",
            "inference",
            "evaluation",
        )
    ]
    assert contents(folder) == before


def test_a_run_that_learnt_from_tags_of_volumes_passes_as_well(tmp_path):
    for number in range(1, 6):
        images, mask = make_scan(number)
        write_case_files(tmp_path / "raw" / f"{number:03d}", f"{number:03d}", images, mask * (number % 2))
    splits = {"train": ["001", "002"], "validation": ["003", "004"], "test": ["005"]}
    data = prepare(tmp_path / "raw", tmp_path / "data", splits, spatial_size=32)
    places = {"dataset_dir": str(data), "output_dir": str(tmp_path / "run")}
    run_here("train", "method_volume_tags", **TRAINING, **places, epochs=1)
    folder = pack(PackOptions(tmp_path / "packed", tmp_path / "run", seen="made-up scans")).folder
    assert [str(finding) for finding in verify(folder) if not finding.ok] == []


def test_workflows_that_do_not_run_are_told_each_for_itself(own_copy):
    configs = own_copy / "configs"
    change(configs / "train.json", lambda config: config["training"].insert(0, "$1 / 0"))
    change(configs / "inference.json", lambda config: config.pop("inferer"))
    change(
        configs / "metadata.json",
        lambda m: (
            m["network_data_format"]["outputs"]["pred"].update(num_channels=7)
            or m["network_data_format"]["inputs"]["image"].update(value_range=[-1, 5])
        ),
    )
    state = torch.load(own_copy / "models" / "model.pt", weights_only=True)
    torch.save({name: value + 1 for name, value in state.items()}, own_copy / "models" / "model.pt")
    failed = {finding.check: finding.told for finding in verify_workflows(own_copy) if not finding.ok}
    assert set(failed) == {"training", "properties", "inference", "intensities", "network", "torchscript"}
    assert "division by zero" in failed["training"]
    assert "inferer" in failed["properties"]
    assert "expected -1 to 5 in the network's input, found -" in failed["intensities"]
    assert "`2` doesn't match: `7`" in failed["network"]
    assert "model.ts gives other values" in failed["torchscript"]


def test_the_command_prints_every_check_and_fails(own_copy, capsys):
    (own_copy / "LICENSE").unlink()
    assert verify_bundle(str(own_copy)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["failed", "files"]
    assert {line.split()[1]: line.split()[0] for line in lines[:-2]} == {
        name: "failed" if name in ("files", "documents", "checksums") else "ok" for name in checks.CHECKS
    }
    assert "failed: files, documents, checksums" in lines[-1]
    with pytest.raises(FileNotFoundError, match="unzip it first"):
        verify_bundle(str(own_copy / "nowhere"))


def test_our_copy_of_the_demands_agrees_with_itself(bundle_dir):
    jsonschema = pytest.importorskip("jsonschema")
    found = json.loads((bundle_dir / "configs" / "metadata.json").read_text())
    jsonschema.validate(found, metadata_schema())
    for name in REQUIRED:
        less = {field: value for field, value in found.items() if field != name}
        assert any(name in fault for fault in metadata_faults(less))
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(less, metadata_schema())


def test_removing_everything_leaves_a_report(own_copy):
    shutil.rmtree(own_copy)
    own_copy.mkdir()
    assert [finding.ok for finding in verify(own_copy)].count(True) == 2  # its name, and no file is too large
