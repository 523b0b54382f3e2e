"""Training in MONAI Label's server: tags from what users saved, then the bundle's normal training."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.tasks.train.bundle import BundleTrainTask
from monailabel.utils.others.generic import device_list, name_to_device

from bundle.label.training import Labelled, prepare_labelled, served_settings, train_on

logger = logging.getLogger(__name__)


class TagTrainTask(BundleTrainTask):
    """``train.yaml`` on the tags in labels saved as ``final``.

    The bundle's own task hands labels to the training as masks, and would load its weights after the mean of the
    weights was set up.

    Args:
        path: folder of the bundle.
        conf: the server's.
        work_dir: for prepared cases and trainings.
    """

    def __init__(self, path: str, conf: dict[str, str], work_dir: str | Path) -> None:
        super().__init__(path, conf)
        self.work_dir = Path(work_dir)

    def config(self) -> dict[str, Any]:
        """Options that a client shows."""
        epochs = self.bundle_config.get("epochs", 4)
        return {"device": device_list(), "pretrained": True, "max_epochs": epochs, "val_split": 0.2}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train; the next inference uses the new weights."""
        options = {**self.config(), **request}
        bundle = Path(self.bundle_path)
        labelled = []
        for image in datastore.get_labeled_images():
            label = datastore.get_label_by_image_id(image, DefaultLabelTag.FINAL)
            info = datastore.get_label_info(label, DefaultLabelTag.FINAL)
            path = datastore.get_label_uri(label, DefaultLabelTag.FINAL)
            labelled.append(Labelled(datastore.get_image_uri(image), path, info))
        dataset_dir = prepare_labelled(
            labelled,
            served_settings(bundle),
            self.work_dir / "prepared",
            float(options["val_split"]),
            logger.info,
        )
        output_dir = self.work_dir / "trainings" / datetime.now().strftime("%Y%m%d_%H%M%S_%f")
        device = name_to_device(options["device"])
        epochs, pretrained = int(options["max_epochs"]), str(options["pretrained"]).lower() != "false"
        train_on(dataset_dir, bundle, output_dir, epochs, device, pretrained, logger.info)
        logger.info("the next inference uses the weights of %s", output_dir)
        return {"output_dir": str(output_dir), "cases": len(labelled)}
