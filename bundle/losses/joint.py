"""Eqs. 6 to 8: one loss of named, weighted terms for all branches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bundle.equivariance import Views


class JointLoss(nn.Module):
    """The weighted sum of named terms over all branches, Patel and Dolz (2022), eq. 8.

    Teachers are detached in every term, so this one loss with one optimizer equals one round a branch.

    Args:
        terms: name to ``{"loss": module, "weight": number, "ramp_epochs": epochs}``; a module is called with the
            views and the tags. An entry of ``None`` (a disabled item) or of weight 0 is not computed.
            ``ramp_epochs`` is optional and left to :class:`bundle.handlers.LossTermHandlers`.

    Attributes:
        weights: current weight of each term, which handlers set.
        ramp_epochs: of each term, 0 for a constant weight.
        known: names of all terms, those switched off included.
        values: each term's last value before weighting, a detached scalar on the device: reading it waits.

    Raises:
        ValueError: without any term, for an entry without loss or weight, or (when called) for masks where a
            term learns from tags.
    """

    def __init__(self, terms: Mapping[str, Mapping[str, Any] | None]) -> None:
        super().__init__()
        used = {name: term for name, term in terms.items() if term is not None}
        for name, term in used.items():
            if not isinstance(term, Mapping):
                raise ValueError(
                    f"loss_terms::{name}: expected a loss and a weight, got {term!r}; on a command line, None "
                    f"switches a term off"
                )
            if not {"loss", "weight"} <= set(term) <= {"loss", "weight", "ramp_epochs"}:
                raise ValueError(
                    f"loss_terms::{name}: expected the keys loss and weight, got {sorted(term)}; "
                    f"ramp_epochs is optional"
                )
        if not used:
            raise ValueError("loss_terms: expected at least one term, got none; keep `classification`")
        self.terms = nn.ModuleDict({name: term["loss"] for name, term in used.items()})
        self.weights = {name: float(term["weight"]) for name, term in used.items()}
        self.ramp_epochs = {name: float(term.get("ramp_epochs", 0)) for name, term in used.items()}
        self.known = tuple(terms)
        self.values: dict[str, torch.Tensor] = {}

    def set_weight(self, name: str, weight: float) -> None:
        """Set the weight of the term ``name``; a ``ValueError`` names the known terms."""
        if name not in self.weights:
            raise ValueError(f"loss term {name!r} is unknown; `loss_terms` has {', '.join(self.weights)}")
        self.weights[name] = float(weight)

    def forward(self, views: Views, tags: torch.Tensor) -> torch.Tensor:
        """Tags, 1 tumour or 0 healthy, (B,); returns a scalar with gradient."""
        self._refuse_masks(tags)
        total = views.plain_logits.new_zeros(())
        self.values = {}
        for name, term in self.terms.items():
            if self.weights[name] == 0:
                continue
            value = term(views, tags)
            self.values[name] = value.detach()
            total = total + self.weights[name] * value
        return total

    def _refuse_masks(self, tags: torch.Tensor) -> None:
        """Where masks are at hand, no term but the supervised one may be: the others would look at them."""
        weak = [name for name, term in self.terms.items() if not getattr(term, "learns_from_masks", False)]
        if tags.ndim != 1 and weak:
            raise ValueError(
                f"loss_terms {', '.join(weak)} learn from tags, one number a slice, got {tuple(tags.shape)}: "
                f"no mask may reach them; set `training_slices` to bundle.data.SliceDataset or switch them off"
            )
