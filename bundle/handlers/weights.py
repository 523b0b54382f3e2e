"""Weights for inference, with a check that they were trained under the settings at hand."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from bundle.configuration import MODEL_IDS, differing_ids, settings_beside
from bundle.data import CaseDataset
from bundle.data.cache import sha256

PACKED = " (of a packed bundle: that bundle's own configs)"  # each holds those of one stage
WITHOUT_EXPERTS = (
    "it comes from a version without experts (or a training with `wrap: null`): train again, or merge a file with "
    "`wrap: null` after the config"
)
KNOWN_CASES = "cases that were used to train or select"  # how a warning begins, by which it can be silenced


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Tensors and plain values of a checkpoint.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # junk raises whatever the first bytes look like
        raise ValueError(
            f"checkpoint {path} cannot be read ({type(error).__name__}); it is damaged or no checkpoint: copy it "
            f"again, or delete it and train again"
        ) from error


class LoadWeights:
    """Loads a flat state dict, ``models/model.pt``, or the network in a ``checkpoints/last.pt``.

    Args:
        checkpoint: file to load.
        network: whose weights are set.
        settings: merged config of this run. What training noted with the weights (``model.json`` beside them, or
            in ``last.pt``) must agree with it in all that the network's output means: modalities, their order,
            size, pooling … Where ``spatial_size`` is ``None``, raw cases are read at the size of the training.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the settings disagree, or the weights do not fit the network.
    """

    def __init__(
        self, checkpoint: str, network: torch.nn.Module, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.checkpoint, self.network, self.settings = Path(checkpoint), network, dict(settings or {})

    def attach(self, engine: Engine) -> None:
        """Load when the engine starts."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        trained = self.load()
        vars(engine.state)["weights_sha256"] = sha256(
            self.checkpoint
        )  # for reports, which tell what they are of
        dataset = getattr(getattr(engine, "data_loader", None), "dataset", None)
        if isinstance(dataset, CaseDataset):
            if dataset.spatial_size is None:
                dataset.spatial_size = trained.get("spatial_size")
            self._warn_of_known_cases(dataset, trained)

    def load(self) -> dict[str, Any]:
        """Set the network's weights; what training noted with them, empty without a note."""
        if not self.checkpoint.is_file():
            raise FileNotFoundError(
                f"checkpoint {self.checkpoint} does not exist; train first with this --output_dir, or give --checkpoint"
            )
        state = read_checkpoint(self.checkpoint, next(self.network.parameters()).device)
        trained = self._trained_settings(state)
        self._check_settings(trained)
        try:
            self.network.load_state_dict(state.get("network", state))
        except RuntimeError as error:
            finding = str(error).splitlines()[1].strip()
            old = finding.startswith("Missing key(s)") and finding.count('"') == 2 and '"trust"' in finding
            remedy = (
                "it comes from a version that kept no trust of branches: train again"
                if old
                else "give the overlays and the --modalities, --width and --levels that it was trained with"
            )
            raise ValueError(
                f"checkpoint {self.checkpoint} does not fit the network "
                f"({textwrap.shorten(finding, 200, placeholder=' …')}); {remedy}"
            ) from error
        return trained

    def _trained_settings(self, state: Mapping[str, Any]) -> dict[str, Any]:
        beside = self.checkpoint.with_suffix(".json")
        if "settings" in state:
            return dict(state["settings"])
        if beside.is_file():
            return settings_beside(self.checkpoint)
        warnings.warn(
            f"{beside} is missing, so nothing tells whether these settings (modalities and their order, size, pooling) "
            f"are those of the training; copy it together with {self.checkpoint.name}",
            stacklevel=2,
        )
        return {}

    def _warn_of_known_cases(self, dataset: CaseDataset, trained: Mapping[str, Any]) -> None:
        known = {*trained.get("training_cases", []), *trained.get("validation_cases", [])}
        seen = [case for entry in dataset.data if (case := str(entry.get("case"))) in known]
        if seen:
            warnings.warn(
                f"{KNOWN_CASES} {self.checkpoint}: {len(seen)} of {len(dataset.data)} "
                f"({', '.join(seen[:5])}{', ...' if len(seen) > 5 else ''}); they say nothing of new patients",
                stacklevel=2,
            )

    def _check_settings(self, trained: Mapping[str, Any]) -> None:
        shared = [name for name in MODEL_IDS if name in trained and name in self.settings]
        if self.settings.get("spatial_size") is None:
            shared = [name for name in shared if name != "spatial_size"]
        changed = differing_ids({n: trained[n] for n in shared}, {n: self.settings[n] for n in shared})
        if changed:
            found = "; ".join(text for n in changed for text in _differences(n, trained[n], self.settings[n]))
            raise ValueError(
                f"checkpoint {self.checkpoint} was trained with other settings ({found}); {self._remedy(trained)}"
            )

    def _remedy(self, trained: Mapping[str, Any]) -> str:
        segmenter, reads_probabilities = "labels_dir" in trained, _reads_probabilities(self.settings)
        if segmenter and not reads_probabilities:
            return (
                "it is a segmenter's: use configs/inference_selftrain.yaml, or configs/evaluate.yaml with "
                f"configs/method_selftrain.yaml merged after it{PACKED}"
            )
        if reads_probabilities and not segmenter and not _reads_probabilities(trained):
            return (
                f"it is the CAM stage's: use configs/inference.yaml, or configs/evaluate.yaml alone{PACKED}"
            )
        if segmenter and trained.get("wrap", True) is None:
            return WITHOUT_EXPERTS
        return "give the same overlays and options as in training"


def _reads_probabilities(settings: Mapping[str, Any]) -> bool:
    """Whether pixels' probabilities are read: a segmenter's, or those of configs/method_supervised.yaml."""
    method = settings.get("method")
    target = method.get("_target_") if isinstance(method, Mapping) else method
    return str(target).endswith("ProbabilityInferer")


def _differences(name: str, was: Any, now: Any) -> list[str]:
    """What differs in a setting, leaf by leaf; parts of other classes by their classes alone."""
    if not isinstance(was, Mapping) or not isinstance(now, Mapping):
        return [] if was == now else [f"{name} was {_shown(was)}, is {_shown(now)}"]
    if was.get("_target_") != now.get("_target_"):
        return [f"{name} was {_shown(was)}, is {_shown(now)}"]
    keys = [*was, *(key for key in now if key not in was)]
    return [text for key in keys for text in _differences(f"{name}#{key}", was.get(key), now.get(key))]


def _shown(value: Any) -> str:
    return (
        str(value["_target_"]).split(".")[-1]
        if isinstance(value, Mapping) and "_target_" in value
        else str(value)
    )
