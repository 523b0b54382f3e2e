"""The default chain: tags, CAMs, pseudo masks, a segmenter, masks."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bundle.chain.acceptance import caution, is_kept, verdict
from bundle.chain.agreement import TagAgreement, tag_agreement
from bundle.chain.disputes import settle_disputes
from bundle.chain.stage import Stage, run_stage
from bundle.configuration import reading_overlays, root_cause
from bundle.data import PreparedCase, datalist, truth_path
from bundle.data.cache import write_json
from bundle.data.datalists import recorded_reading
from bundle.data.labels import SEGMENTER_VOLUME_METHOD, VOLUME_METHOD
from bundle.handlers.weights import KNOWN_CASES

SEGMENTER_3D = "network_selftrain3d"
CONFIGS_TRUSTED = "parsing config_file"  # MONAI's notice that configs are code; the first stage shows it


@dataclass(frozen=True)
class ChainOptions:
    """What a chain is made of.

    Args:
        dataset_dir: prepared, with tags.
        output_dir: R of the layout in `run_chain`.
        modalities: names; none for all of the data set's, in its order.
        seed: of all trainings.
        splits: name of the split file in the data set.
        rounds: of self-training; each next one learns from the last one's maps.
        cam_configs: overlays of the CAM stage (training, and inference where it has a place for them).
        cam_options: config ids of its training and inference, where they mean the same in both.
        cam_training: config ids of its training alone.
        segmenter_configs: overlays of the segmenter, likewise.
        segmenter_options: config ids of the segmenter's training and inference, where they mean the same in both.
        segmenter_training: config ids of its training alone.
        evaluate: score the test cases; ``None``: where any of them has a mask.
    """

    dataset_dir: Path
    output_dir: Path
    modalities: Sequence[str] = ()
    seed: int = 0
    splits: str = "splits.json"
    rounds: int = 1
    cam_configs: Sequence[str] = ()
    cam_options: Mapping[str, Any] = field(default_factory=dict)
    cam_training: Mapping[str, Any] = field(default_factory=dict)
    segmenter_configs: Sequence[str] = ()
    segmenter_options: Mapping[str, Any] = field(default_factory=dict)
    segmenter_training: Mapping[str, Any] = field(default_factory=dict)
    evaluate: bool | None = None


def run_chain(options: ChainOptions) -> dict[str, Any]:
    """Run all stages that are not done, and write ``chain.json``.

    Written to R, the output folder: ``cam/`` (the CAM stage's run, with what it finds in ``cam/train`` and
    ``cam/validation``), ``segmenter_1/`` … (each round's run), ``masks/`` and ``predictions.png`` of the test cases
    by the last round that was accepted, and ``evaluation/`` where any has a true mask.

    A round is accepted if, of the validation cases' pixels that it and the stage before mark differently, the image
    gives it enough (`settle_disputes`), and if its masks agree with those cases' tags as well, less a tolerance
    (`is_kept`): no true mask takes part in it. If the first round is refused, the CAM stage's masks stand.

    Returns:
        What ``chain.json`` holds: seconds and agreement of each stage, and which one made the masks.

    Raises:
        ValueError: a stage failed; or, before the first one, a split lacks cases, tags or a modality, there is no such
            overlay or id, or overlays do not go together.
        FileNotFoundError: there is no prepared data set.
    """
    _check_overlays(options)
    entries = datalist(options.dataset_dir, "validation", options.splits)
    prepared = PreparedCase.open(entries[0]["image"]).modalities
    options = replace(options, modalities=options.modalities or prepared)
    accepted: _ChainStage = _CamStage(options)
    accepted.check()
    if options.rounds:
        _SegmenterStage(options, 1, accepted.maps("train")).check()
    report: dict[str, Any] = {"stages": [accepted.run(entries)]}
    best = accepted.agreement
    for number in range(1, options.rounds + 1):
        stage = _SegmenterStage(options, number, accepted.maps("train"))
        row = stage.run(entries)
        disputes = settle_disputes(entries, options.modalities, accepted.masks, stage.masks)
        row["disputes"] = disputes.as_dict()
        row["accepted"] = is_kept(disputes, stage.agreement, best)
        report["stages"].append(row)
        print("\n" + verdict(stage.name, row["accepted"], disputes, stage.agreement, best))
        if not row["accepted"]:
            break
        accepted, best = stage, max(best, stage.agreement, key=lambda tags: tags.balanced_accuracy)
    report["made_by"] = accepted.name
    accepted.predict("test", options.output_dir)
    if _to_be_scored(options):
        accepted.score(options.output_dir / "evaluation")
    write_json(options.output_dir / "chain.json", report)
    print(f"\nmasks by {accepted.name}: {options.output_dir / 'masks'}")
    print(f"new scans: {accepted.command_for_new_scans()}")
    print("(NEW: their folder, laid out as what was prepared; OUT: where masks go)")
    print(caution(accepted.agreement), end="")
    return report


class _ChainStage:
    """A training and what is read off it."""

    name: str
    train_config: str
    inference: Sequence[str]
    evaluation: Sequence[str]
    agreement: TagAgreement

    def __init__(self, options: ChainOptions, name: str) -> None:
        self.options, self.name = options, name
        self.folder = options.output_dir / name
        self.checkpoint = self.folder / "models" / "model.pt"
        self.shared: dict[str, Any] = {
            "dataset_dir": Path(options.dataset_dir).resolve(),
            "splits": options.splits,
            "modalities": ",".join(options.modalities),
        }
        self.training_configs: Sequence[str] = ()
        self.training_options: Mapping[str, Any] = {}
        self.reading_options: Mapping[str, Any] = {}
        self.needs: Sequence[Path] = ()
        self.training_silenced: Sequence[str] = ()

    def check(self) -> None:
        """Refuse before hours of training what would fail after them."""
        for stage in (self._training(), self._prediction("test", self.options.output_dir)):
            stage.merged()

    def run(self, validation: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Train, draw the training and the validation cases; seconds and agreement for the report."""
        row: dict[str, Any] = {"name": self.name, "seconds": run_stage(self._training())}
        for split in ("train", "validation"):
            self.predict(split, self.folder / split)
        self.agreement = tag_agreement(validation, self.masks)
        return {**row, "validation_tags": self.agreement.as_dict()}

    @property
    def masks(self) -> Path:
        """Folder of the validation cases' masks."""
        return self.folder / "validation" / "masks"

    def maps(self, split: str) -> Path:
        """Folder of the fused maps of a split."""
        return self.folder / split / "cams" / "fused"

    def predict(self, split: str, output_dir: Path) -> None:
        """Masks, and maps where a next stage learns from them."""
        run_stage(self._prediction(split, output_dir))

    def command_for_new_scans(self) -> str:
        """What a user types to draw cases that are not in the data set."""
        files = [f"configs/{name}.yaml" for name in self.inference]
        recorded = recorded_reading(self.options.dataset_dir)
        if patterns := recorded.get("patterns"):  # other sources are found by their layout
            wanted = {*self.options.modalities, recorded.get("reference"), "foreground"}
            used = {name: pattern for name, pattern in patterns.items() if name in wanted}
            recorded["patterns"] = json.dumps(used, ensure_ascii=False)
        options = {
            "config_file": files[0] if len(files) == 1 else str(files),
            "checkpoint": self.checkpoint,
            "modalities": self.shared["modalities"],
            **self.reading_options,
            "dataset_dir": "NEW",
            **recorded,
            "output_dir": "OUT",
        }
        words = [f"--{name} {shlex.quote(str(value))}" for name, value in options.items()]
        return " ".join(["python -m monai.bundle run", *words])

    def score(self, output_dir: Path) -> None:
        """Dice and ASSD of the test cases."""
        title, result = f"{self.name}: evaluation", output_dir / "summary.json"
        run_stage(self._reading(title, self.evaluation, result, "test", {}))

    def _training(self) -> Stage:
        options = {**self.shared, "seed": self.options.seed, **self.training_options}
        return Stage(
            title=f"{self.name}: training",
            workflow="training",
            configs=self.training_configs,
            options={**options, "output_dir": self.folder.resolve()},
            note=self.folder / "training.json",
            result=self.checkpoint,
            needs=[*self._data("train"), *self._data("validation"), *self.needs],
            silenced=self.training_silenced,
        )

    def _prediction(self, split: str, output_dir: Path) -> Stage:
        extras = {} if split == "test" else {"save_also": "cams"}
        title, result = f"{self.name}: masks of {split} cases", output_dir / "masks"
        known = () if split == "test" else (KNOWN_CASES,)  # its own cases, on purpose
        return self._reading(title, self.inference, result, split, extras, known)

    def _reading(
        self,
        title: str,
        configs: Sequence[str],
        result: Path,
        split: str,
        extras: Mapping[str, Any],
        silenced: Sequence[str] = (),
    ) -> Stage:
        """One note for each result, so that what another stage has overwritten is made anew."""
        options = {**self.shared, "split": split, "checkpoint": self.checkpoint.resolve(), **extras}
        return Stage(
            title=title,
            workflow=None,
            configs=configs,
            options={**options, **self.reading_options, "output_dir": result.parent.resolve()},
            note=result.parent / f"{result.stem}_made_by.json",
            result=result,
            needs=[self.checkpoint, *self._data(split)],
            silenced=[CONFIGS_TRUSTED, *silenced],
        )

    def _data(self, split: str) -> list[Path]:
        """What the prepared cases of a split are described by, tags and all."""
        entries = datalist(self.options.dataset_dir, split, self.options.splits)
        return [Path(entry["image"], "case.json") for entry in entries]


class _CamStage(_ChainStage):
    """Branches trained on tags."""

    def __init__(self, options: ChainOptions) -> None:
        super().__init__(options, "cam")
        self.training_configs = ("train", *options.cam_configs)
        reading = reading_overlays(options.cam_configs)
        self.inference = ("inference", *reading)
        self.evaluation = ("evaluate", *reading)
        self.training_options = {**options.cam_options, **options.cam_training}
        self.reading_options = options.cam_options

    def check(self) -> None:
        """Also that training finds its modalities and tags: its data sets are opened as it will open them."""
        super().check()
        training = self._training()
        config = training.merged()
        for section, split in (("train", "train"), ("validate", "validation")):
            try:
                config.get_parsed_content(f"{section}#dataset")
            except RuntimeError as error:
                raise ValueError(f"{training.title}: split {split}: {root_cause(error)}") from error


class _SegmenterStage(_ChainStage):
    """A segmenter trained on the maps of the stage before."""

    def __init__(self, options: ChainOptions, number: int, labels_dir: Path) -> None:
        super().__init__(options, f"segmenter_{number}")
        self.training_configs = ("train_selftrain", *options.segmenter_configs)
        if VOLUME_METHOD in options.cam_configs:
            self.training_configs += (SEGMENTER_VOLUME_METHOD,)
        reading = reading_overlays(options.segmenter_configs)
        self.inference = ("inference_selftrain", *reading)
        self.evaluation = ("evaluate", "method_selftrain", *reading)
        own = {**options.segmenter_options, **options.segmenter_training}
        self.training_options = {**own, "labels_dir": labels_dir.resolve()}
        self.reading_options = options.segmenter_options
        self.needs = [labels_dir]
        self.training_silenced = [CONFIGS_TRUSTED]


def _check_overlays(options: ChainOptions) -> None:
    """Refuse before hours of training what would fail after them."""
    counts_volumes = (
        VOLUME_METHOD in options.cam_configs or SEGMENTER_VOLUME_METHOD in options.segmenter_configs
    )
    if options.rounds and counts_volumes and SEGMENTER_3D in options.segmenter_configs:
        raise ValueError(
            f"{SEGMENTER_3D} is validated on slices' tags, expected one of slices where tags are of whole "
            f"volumes; leave {SEGMENTER_3D} out of the segmenter's configs, or tag slices and leave "
            f"{VOLUME_METHOD} out of the CAM stage's"
        )


def _to_be_scored(options: ChainOptions) -> bool:
    """Whether test cases are to be scored: as asked, else where any has a mask."""
    if options.evaluate is not None:
        return options.evaluate
    entries = datalist(options.dataset_dir, "test", options.splits)
    return any(truth_path(entry) is not None for entry in entries)
