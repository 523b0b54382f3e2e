"""Checks of a bundle that run its own code. `verify` starts this file in a process that knows no other copy of it:

    python -S -P probe.py FOLDER SCRATCH

FOLDER is the bundle, SCRATCH an empty folder, where all is run. Each check adds a line to SCRATCH/found.jsonl.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser, ckpt_export, create_workflow, verify_net_in_out
from monai.bundle import run as run_bundle
from monai.data import load_net_with_metadata

SIDE, SLICES = 32, 6  # of the made-up scans
CASES = 6
# Every second one is healthy, for methods that learn from tags of volumes.
SPLITS = {"train": ["001", "002"], "validation": ["003", "004"], "test": ["005", "006"]}
REMEDIES = {
    "intensities": "correct `value_range` in configs/metadata.json",
    "properties": "define them under the ids that MONAI's properties name",
    "network": "make configs/metadata.json and `network_def` agree",
    "torchscript": "pack it again, or change what TorchScript cannot read in the network",
}
BREAKS = "the config, the code or the weights are not those of one run: pack it again"


class Probe:
    """The checks of one bundle.

    Args:
        folder: the bundle, absolute.
        scratch: where scans are made up and workflows write.
    """

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        self.config = {
            name: str(folder / "configs" / f"{name}.json") for name in ("train", "inference", "evaluate")
        }
        named = ConfigParser.load_config_file(self.config["inference"])["modalities"]
        self.modalities = (
            named if isinstance(named, list) else [name.strip() for name in str(named).split(",")]
        )
        self.segmenter = "labels_dir" in ConfigParser.load_config_file(self.config["train"])

    def data(self) -> None:
        """Made-up cases, each second one with a bright square: raw, prepared by the bundle's own code, and as maps."""
        patterns = self._patterns()
        for number in range(1, CASES + 1):
            case, noise = f"{number:03d}", np.random.default_rng(number)
            mask = np.zeros((SIDE, SIDE, SLICES), np.uint8)
            mask[10:20, 10:20, 2:4] = number % 2
            for name in [*self.modalities, "mask"]:
                values = (
                    mask
                    if name == "mask"
                    else noise.integers(100, 200, mask.shape) + 300 * mask.astype(np.int16)
                )
                _save(self.scratch / "raw" / patterns[name].format(case=case), values)
            _save(self.scratch / "maps" / f"{case}.nii.gz", mask.astype(np.float32))
        splits = self.scratch / "splits.json"
        splits.write_text(json.dumps(SPLITS), encoding="utf-8")
        with self.code():
            from bundle.data.folder_patterns import find_folder
            from bundle.data.prepare import PrepareOptions, prepare_cohort

            options = PrepareOptions(
                self.modalities, tags_from_masks=True, splits=splits, spatial_size=SIDE, workers=1
            )
            records = find_folder(self.scratch / "raw", patterns, self.modalities)
            prepare_cohort(records, self.scratch / "prepared", options, "folder", progress=False)

    def run_training(self) -> str:
        """One epoch on the prepared cases, started from another folder by the config's path alone."""
        options: dict[str, Any] = {"labels_dir": str(self.scratch / "maps")} if self.segmenter else {}
        options |= {"epochs": 1, "epoch_slices": 8, "batch_size": 4, "val_interval": 1}
        run_bundle(
            run_id="training",
            config_file=self.config["train"],
            dataset_dir=str(self.scratch / "prepared"),
            output_dir=str(self.scratch / "trained"),
            **options,
        )
        return self._written("trained/models/model.pt")

    def run_inference(self) -> str:
        """Masks of raw cases by the bundle's weights."""
        run_bundle(config_file=self.config["inference"], **self._raw("predicted"))
        found = [nib.load(path) for path in sorted((self.scratch / "predicted" / "masks").glob("*.nii.gz"))]
        shapes = {image.shape for image in found}  # type: ignore[attr-defined]
        if len(found) != CASES or shapes != {(SIDE, SIDE, SLICES)}:
            raise ValueError(
                f"expected {CASES} masks of {SIDE} x {SIDE} x {SLICES} voxels, found {len(found)} of {shapes}"
            )
        return f"{CASES} masks on the scans' own grid"

    def run_evaluation(self) -> str:
        """Scores of the same."""
        run_bundle(config_file=self.config["evaluate"], **self._raw("scored"))
        return self._written("scored/metrics.csv")

    def properties(self) -> str:
        """MONAI's properties of each workflow, from another folder."""
        kinds = {"train": "train", "inference": "infer", "evaluate": "infer"}
        for name, kind in kinds.items():
            data = (
                {"dataset_dir": str(self.scratch / "prepared")} if name == "train" else self._raw("checked")
            )
            options = {"labels_dir": str(self.scratch / "maps")} if self.segmenter and name == "train" else {}
            options |= {**data, "output_dir": str(self.scratch / "checked")}
            with self.code():
                workflow = create_workflow(
                    config_file=self.config[name], workflow_type=kind, logging_file=False, **options
                )
                missing = workflow.check_properties()
            if missing:
                raise ValueError(f"{name}: {', '.join(missing)} are missing or under another id")
        return f"of {', '.join(kinds)}"

    def intensities(self) -> str:
        """What the network sees of the raw cases lies in the metadata's range."""
        config = ConfigParser.load_config_file(self.config["inference"]) | self._raw("seen")
        expected = self._formats()["inputs"]["image"]["value_range"]
        with self.code():
            parser = ConfigParser(config)
            slices = [item["image"].movedim(-1, 0) for item in parser.get_parsed_content("dataset")]
            normalise = parser.get_parsed_content("slice_normalization")
        seen = torch.cat(slices if normalise is None else [normalise(image) for image in slices])
        found = f"{seen.min():.2f} to {seen.max():.2f}"
        if not expected:
            return f"{found}, and the metadata claim no range"
        low, high = expected
        if seen.min() < low or seen.max() > high:
            raise ValueError(f"expected {low} to {high} in the network's input, found {found}")
        return f"{found}, within {low} to {high}"

    def network(self) -> str:
        """Channels and types that go in and come out of ``network_def`` are the metadata's, at its first sizes."""
        meta = str(self.folder / "configs" / "metadata.json")
        with self.code():
            for size in (1, 2, 3):
                verify_net_in_out(
                    "network_def", meta_file=meta, config_file=self.config["inference"], device="cpu", n=size
                )
        formats = self._formats()
        counts = (formats["inputs"]["image"]["num_channels"], formats["outputs"]["pred"]["num_channels"])
        return "{} channels in, {} out".format(*counts)

    def torchscript(self) -> str:
        """``network_def`` can be exported, and the exported as well as the packed one give what it gives."""
        exported = self.scratch / "exported.ts"
        with self.code():
            ckpt_export(
                "network_def",
                filepath=str(exported),
                ckpt_file=str(self.folder / "models" / "model.pt"),
                meta_file=str(self.folder / "configs" / "metadata.json"),
                config_file=self.config["inference"],
            )
            network = ConfigParser(
                ConfigParser.load_config_file(self.config["inference"])
            ).get_parsed_content("network_def")
        network.load_state_dict(
            torch.load(self.folder / "models" / "model.pt", map_location="cpu", weights_only=True)
        )
        network.eval()
        image = self._formats()["inputs"]["image"]
        slices = torch.randn(2, image["num_channels"], *[SIDE] * len(image["spatial_shape"]))
        with torch.no_grad():
            wanted = network(slices)
            for path in (exported, self.folder / "models" / "model.ts"):
                found = load_net_with_metadata(str(path), map_location=torch.device("cpu"))[0](slices)
                if found.shape != wanted.shape or not torch.allclose(found, wanted, atol=1e-5):
                    raise ValueError(
                        f"{path.name} gives other values than `network_def` with models/model.pt"
                    )
        return "exports; model.ts gives what model.pt gives"

    @contextmanager
    def code(self) -> Any:
        """The bundle's folder is on the path, as for whoever started there."""
        sys.path.insert(0, str(self.folder))
        try:
            yield
        finally:
            _forget(str(self.folder))

    def _formats(self) -> dict[str, Any]:
        metadata = json.loads((self.folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
        return metadata["network_data_format"]

    def _patterns(self) -> dict[str, str]:
        return {name: f"{{case}}/{name}.nii.gz" for name in [*self.modalities, "mask"]}

    def _raw(self, output: str) -> dict[str, Any]:
        places = {"dataset_dir": self.scratch / "raw", "output_dir": self.scratch / output}
        return {**{name: str(path) for name, path in places.items()}, "patterns": self._patterns()}

    def _written(self, name: str) -> str:
        if not (self.scratch / name).is_file():
            raise ValueError(f"expected it to write {name}, found none")
        return f"writes {name}"


def _forget(folder: str) -> None:
    """As if nothing of the bundle had been imported yet."""
    sys.path[:] = [path for path in sys.path if path != folder]
    for name in [name for name in sys.modules if name.split(".")[0] in ("bundle", "scripts")]:
        del sys.modules[name]


def _save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values.astype(np.float32), np.diag([-1.0, -1.0, 3.0, 1.0])), path)


def main(folder: Path, scratch: Path) -> None:
    """All checks, in the order in which they are told."""
    warnings.simplefilter("ignore")
    os.chdir(scratch)
    checks: dict[str, Callable[[Probe], str | None]] = {
        "fake data": Probe.data,
        "properties": Probe.properties,
        "intensities": Probe.intensities,
        "network": Probe.network,
        "torchscript": Probe.torchscript,
        "training": Probe.run_training,
        "inference": Probe.run_inference,
        "evaluation": Probe.run_evaluation,
    }
    probe = Probe(folder, scratch)
    for name, check in checks.items():
        entry = {"check": name, "fault": None, "told": None}
        try:
            entry["told"] = check(probe)
        except Exception as error:  # whatever a foreign bundle raises is what is to be told
            entry["fault"] = f"{_cause(error)}; {REMEDIES.get(name, BREAKS)}"
        finally:
            _forget(str(folder))
        with (scratch / "found.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:500].rstrip(".") or type(error).__name__


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
