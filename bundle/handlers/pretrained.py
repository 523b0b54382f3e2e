"""A training starts from weights that were trained before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from torch import nn

from bundle.configuration import settings_beside
from bundle.data.names import name_list
from bundle.handlers.weights import read_checkpoint


def start_from_weights(networks: Sequence[nn.Module], checkpoint: str) -> None:
    """Set weights to those of an earlier training, such as a packed bundle's.

    Branches are known by the names of their modalities: those that both trainings have are taken, in whatever order
    and among whatever others, and the rest stays as it is. A branch that sees all modalities wants the same ones in
    the same order. Which slices were tagged there and how does not matter here; a run that goes on from its own
    ``checkpoints/last.pt`` does so, as ever.

    Args:
        networks: ensembles, wrapped or not; all get the same start.
        checkpoint: ``models/model.pt`` with its ``model.json`` beside it.

    Raises:
        FileNotFoundError: there is no such file, or no ``model.json`` to tell its modalities.
        ValueError: it has none of these modalities, or is of another network.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise FileNotFoundError(f"pretrained {path} does not exist; give the models/model.pt of a training")
    noted = settings_beside(path)
    if "modalities" not in noted:
        beside = path.with_suffix(".json").name
        raise FileNotFoundError(
            f"pretrained {path}: expected {beside} beside it, with its modalities; copy it, too"
        )
    theirs = name_list(noted["modalities"])
    state = read_checkpoint(path, next(networks[0].parameters()).device)
    for network in networks:
        taken = _take(getattr(network, "module", network), state, theirs, path)
    if idist.get_rank() == 0:
        print(f"pretrained: {', '.join(taken)} from {path}", flush=True)


def _take(ensemble: Any, state: dict[str, torch.Tensor], theirs: list[str], path: Path) -> list[str]:
    """Load what there is; the names of the modalities that have it."""
    ours = list(ensemble.modalities)
    sees_all = ensemble.inputs > 1
    if sees_all and ours != theirs:
        raise ValueError(
            f"pretrained {path} sees {', '.join(theirs)} at once, expected {', '.join(ours)}; give --modalities "
            f"{','.join(theirs)}"
        )
    places = [(0, 0)] if sees_all else [(ours.index(n), theirs.index(n)) for n in ours if n in theirs]
    if not places:
        raise ValueError(
            f"pretrained {path} knows {', '.join(theirs)}, none of {', '.join(ours)}; give modalities its names"
        )
    for here, there in places:
        branch = ensemble.branches[here]
        prefix = f"branches.{there}."
        found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if _shapes(branch.state_dict()) != _shapes(found):
            raise ValueError(
                f"pretrained {path} is of another network; give the config (train.yaml for classifiers, "
                "train_selftrain.yaml for a segmenter), overlays, --width and --levels of its training"
            )
        branch.load_state_dict(found)
    if len(places) == len(ensemble.branches) and "trust" in state:
        ensemble.trust.copy_(state["trust"][[there for _, there in places]])
    return ours if sees_all else [ours[here] for here, _ in places]


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}
