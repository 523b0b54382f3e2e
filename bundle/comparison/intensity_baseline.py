"""Baselines that need no training: each modality's intensity against a threshold, scored as a network's maps are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine
from ignite.handlers import ProgressBar
from scipy.special import expit
from tqdm import tqdm

from bundle.comparison.intensity_rules import (
    IntensityRule,
    best_modality,
    choose_by_masks,
    learn_from_tags,
    otsu_rules,
    shares_beyond,
)
from bundle.data import (
    CaseDataset,
    LoadTruthd,
    NormalizeByForegroundd,
    PreparedCase,
    SliceDataset,
    SliceGeometry,
    datalist,
    name_list,
    nearest_name,
)
from bundle.data.cache import write_json
from bundle.handlers import EvaluationReport
from bundle.metrics import FUSED, MaskRule

RULES = {
    "otsu": "each case's own slices, those tagged positive: it needs the test cases' tags, and reads no mask",
    "training": "the training slices' tags; the test cases need none, and no mask is read",
    "oracle": "the masks of the very cases that are scored: an upper bound, no result",
}
Z_SCORE: Any = NormalizeByForegroundd("image")  # Any: MONAI's transforms take keys of any kind


def score_baseline(
    rule: str,
    dataset_dir: str | Path,
    output_dir: str | Path,
    modalities: Sequence[str] | str = (),
    split: str = "test",
    splits: str = "splits.json",
) -> dict[str, Any]:
    """Score an intensity threshold on a prepared data set and write the report that an evaluation writes.

    ``metrics.csv``, ``summary.json`` and ``contact_sheet.png`` come from :class:`bundle.handlers.EvaluationReport`. A
    modality's map is ``sigmoid(z - threshold)``, above 0.5 beyond the threshold, on the scan's own grid. The row
    ``fused`` is the modality of the best quality; with ``otsu``, which knows none, the maximum over modalities.
    ``rule.json`` says how each threshold was found. All name the rule that made the masks, and the oracle's maps, too.

    Args:
        rule: ``otsu``: Otsu's threshold in slices tagged positive, all others empty. ``training``: learnt from the
            training slices' tags. ``oracle``: chosen on the test masks.
        dataset_dir: what ``scripts.prepare_data`` wrote, with masks for scoring.
        output_dir: folder to write to.
        modalities: which; all of the data set if empty.
        split: cases to score.
        splits: file of splits.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        ValueError: for an unknown rule, without the tags or masks that the rule needs, or without any mask.
    """
    if rule not in RULES:
        raise ValueError(f"rule {rule!r} is unknown; {nearest_name(rule, RULES)}")
    entries = datalist(dataset_dir, split, splits)
    names = name_list(modalities) or PreparedCase.open(entries[0]["image"]).modalities
    cases = [_Case(entry, names) for entry in entries]
    rules: list[IntensityRule] | None = None
    if rule == "training":
        rules = _learn(datalist(dataset_dir, "train", splits), names)
    elif rule == "oracle":
        rules = choose_by_masks(_with_lesion(cases), len(names))
    elif not any((case.prepared.tags == 1).any() for case in cases):
        raise ValueError(
            f"rule otsu: none of {len(cases)} cases of split {split} has a slice tagged positive, expected some; "
            "prepare them with --tags, or take another rule"
        )
    _write_rule(Path(output_dir), rule, names, rules)
    shown = [f"{rule}_{name}" if rule == "oracle" else name for name in names]
    report = EvaluationReport(output_dir, [*shown, FUSED], MaskRule(rule))
    engine = Engine(lambda _, case: [case.scored(rules)])
    report.attach(engine)
    ProgressBar(desc=f"{rule} threshold").attach(engine)
    engine.run(cases)
    assert report.summary is not None
    return report.summary


class _Case:
    """One prepared case, read when it is asked for, on its slices and on the scan's own grid."""

    def __init__(self, entry: dict[str, Any], names: list[str]) -> None:
        self.prepared = PreparedCase.open(entry["image"])
        self._data = CaseDataset([entry], names, transform=Z_SCORE)

    def read(self) -> dict[str, Any]:
        """The item of `CaseDataset`, z-scored, with image (K, X, Y, Z) and foreground (X, Y, Z) on the scan's grid."""
        item = self._data[0]
        geometry: SliceGeometry = item["geometry"]
        image, inside = item["image"].permute(0, 3, 1, 2), item["foreground"].permute(0, 3, 1, 2) > 0
        return {
            **item,
            "slices": (image.numpy(), inside[0].numpy()),
            "on_scan": (geometry.restore(image).numpy(), geometry.restore(inside, "nearest")[0].numpy()),
        }

    def scored(self, rules: list[IntensityRule] | None) -> dict[str, Any]:
        """What the report reads of a case; without rules, Otsu's of the case itself."""
        item = self.read()
        image, inside = item["on_scan"]
        positive = self.prepared.tags == 1
        if rules is None:
            found = otsu_rules(image, inside, positive)
            kept = np.tile(positive, (len(image), 1))
        else:
            found = rules
            planes, within = item["slices"]
            kept = np.stack([rule.keeps(plane, within) for rule, plane in zip(rules, planes, strict=True)])
        maps = np.zeros(image.shape, dtype=np.float32)
        for channel, rule in enumerate(found or []):
            beyond = expit(rule.direction * (image[channel] - np.float32(rule.threshold)))
            maps[channel] = np.where(inside & kept[channel], beyond, 0)
        fused = maps.max(axis=0) if rules is None else maps[best_modality(rules)]
        cams = np.concatenate([maps, fused[None]])
        geometry: SliceGeometry = item["geometry"]
        return {
            **_truth(item),
            "case": item["case"],
            "cams": cams,
            "masks": cams > 0.5,
            "image": np.where(inside, image, image.min(axis=(1, 2, 3), keepdims=True)),
            "affine": geometry.affine,
            "spacing_mm": geometry.spacing_mm,
        }


def _truth(item: dict[str, Any]) -> dict[str, Any]:
    """The case's mask, for scoring and for the oracle, if it has one."""
    load: Any = LoadTruthd()
    loaded = load({**item, "geometry": json.dumps(item["geometry"].to_dict())})
    return {"mask": loaded["mask"]} if "mask" in loaded else {}


def _with_lesion(cases: list[_Case]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    for case in tqdm(cases, desc="oracle looks at masks", unit="case"):
        item = case.read()
        mask = _truth(item).get("mask")
        if mask is not None and mask.any():
            image, inside = item["slices"]
            shares = [shares_beyond(image[:, s], inside[s]) for s in range(len(inside))]
            yield (np.stack(shares), *item["on_scan"], mask > 0)


def _learn(entries: list[dict[str, Any]], names: list[str]) -> list[IntensityRule]:
    slices = SliceDataset(entries, names, transform=Z_SCORE)
    items = (slices[index] for index in tqdm(range(len(slices)), desc="training slices", unit="slice"))
    shares = [shares_beyond(item["image"].numpy(), item["foreground"][0].numpy() > 0) for item in items]
    return learn_from_tags(np.stack(shares), slices.tags)


def _write_rule(output_dir: Path, rule: str, names: list[str], rules: list[IntensityRule] | None) -> None:
    output_dir.mkdir(parents=True, exist_ok=True)
    by_name = {name: asdict(found) for name, found in zip(names, rules or [], strict=rules is not None)}
    fused = "maximum" if rules is None else names[best_modality(rules)]
    write_json(
        output_dir / "rule.json",
        {"rule": rule, "chosen_by": RULES[rule], "fused": fused, "modalities": by_name},
    )
