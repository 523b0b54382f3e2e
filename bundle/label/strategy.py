"""Active learning in MONAI Label's server: the case on which branches disagree most comes next."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from bundle.configuration import root_cause
from bundle.data.names import name_list
from bundle.data.siblings import entry_of_path
from bundle.label.disagreement import disagreement_of_branches
from bundle.label.infer import TagInferTask
from bundle.label.training import served_settings

logger = logging.getLogger(__name__)
KEY = "disagreement"


class DisagreementStrategy(Strategy):
    """Of the cases without a label, the one whose maps differ most between branches.

    Cases of which nothing can be told, such as one with a single modality, are left out with a warning. A case's score
    is kept with its image in the data store, together with what it depends on: weights and file.

    Args:
        task: inference of the model that is asked.
        bundle: its folder.
    """

    def __init__(self, task: TagInferTask, bundle: str | Path) -> None:
        super().__init__("The case on which the modalities' branches disagree most")
        self.task, self.bundle = task, Path(bundle)

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        modalities = name_list(served_settings(self.bundle)["modalities"])
        paths = {image: datastore.get_image_uri(image) for image in sorted(datastore.list_images())}
        case_of = {image: self._case(path, modalities) for image, path in paths.items()}
        labelled = {case_of[image] for image in datastore.get_labeled_images()}
        first: dict[str, str] = {}  # of a case's files one is enough
        for image, case in case_of.items():
            if case not in labelled:
                first.setdefault(case, image)
        scores: dict[str, float] = {}
        reasons: list[str] = []
        for image in first.values():
            try:
                score = self._score(image, paths[image], request, datastore)
            except (ValueError, FileNotFoundError, RuntimeError) as error:  # of this case alone
                score, reason = None, str(root_cause(error))
            else:
                reason = (
                    f"{image}: disagreement needs two branches that have a modality; use another strategy"
                )
            if score is not None:
                scores[image] = score
            else:
                logger.warning("%s is not offered: %s", image, reason)
                reasons.append(reason)
        if not scores and reasons:
            raise ValueError(reasons[0])
        if not scores:
            return None
        image = max(scores, key=lambda one: scores[one])
        logger.info("disagreement of %d cases; next is %s (%.4g)", len(scores), image, scores[image])
        return {"id": image, KEY: scores[image]}

    def _case(self, path: str, modalities: list[str]) -> str:
        return f"{Path(path).parent}/{entry_of_path(path, modalities)['case']}"

    def _score(self, image: str, path: str, request: dict[str, Any], datastore: Datastore) -> float | None:
        weights = (self.bundle / "models" / "model.pt").stat().st_mtime_ns
        made_of = [weights, Path(path).stat().st_mtime_ns]
        known = datastore.get_image_info(image).get(KEY, {})
        if known.get("made_of") == made_of:
            return known["score"]
        maps, foreground = self.task.branch_maps(path, request.get("device"))
        score = disagreement_of_branches(maps, foreground) if len(maps) > 1 else None
        datastore.update_image_info(image, {KEY: {"score": score, "made_of": made_of}})
        return score
