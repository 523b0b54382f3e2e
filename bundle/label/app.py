"""The app that MONAI Label serves: `scripts.label_app` writes a main.py that imports it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import monailabel
from fastapi import HTTPException
from monailabel.config import settings
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.exception import MONAILabelException
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random
from monailabel.utils.others.generic import get_bundle_models

from bundle.configuration import check_code, root_cause
from bundle.label.infer import TagInferTask
from bundle.label.layout import is_dicom_series, served_host
from bundle.label.strategy import DisagreementStrategy
from bundle.label.tags import DONE, HEALTHY
from bundle.label.train import TagTrainTask

WEB = ("http://", "https://")
STEPS = """
Ready: {address} (Ctrl+C ends it)
  3D Slicer: extension MONAILabel, module MONAI Label, give that address and press the arrow beside it. Next Sample
             brings a scan, Run its mask. For tags, paint a dab of `tumour` in each slice that shows it, and
             a dab of `done` anywhere if you looked at all slices; Submit Label. After two cases or more: Train.
  OHIF:      {ohif}
More in docs/label.md.
"""


class StudiesDatastore(LocalDatastore):
    """MONAI Label's folder of studies, in which a folder with a DICOM series is an image, too."""

    def _list_files(self, path: str, patterns: list[str]) -> dict[str, str]:
        found = super()._list_files(path, patterns)
        if Path(path).resolve() == Path(self._datastore.image_path()).resolve():
            folders = (folder for folder in Path(path).iterdir() if folder.is_dir())
            found |= {folder.name: folder.name for folder in folders if is_dicom_series(folder)}
        return found

    def _to_id(self, file: str) -> tuple[str, str]:
        if os.path.isdir(os.path.join(self._datastore.image_path(), file)):
            return file, ""
        return super()._to_id(file)


class TagApp(MONAILabelApp):
    """Masks of whole cases, training on tags painted in a viewer, and cases offered by disagreement.

    Args:
        app_dir: what `bundle.label.lay_out_app` wrote.
        studies: folder of scans.
        conf: the server's; ``models`` names bundles under ``model/``.

    Raises:
        ValueError: two bundles of different versions.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.models: dict[str, str] = get_bundle_models(app_dir, conf)
        for path in self.models.values():
            check_code(path)
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="Tags to masks",
            description="Masks of lesions from tags of slices",
            version=monailabel.__version__,
        )
        named = [name for task in self._infers.values() for name, value in task.labels.items() if value > 0]
        self.labels = list(dict.fromkeys([*named, HEALTHY, DONE]))

    def init_datastore(self) -> LocalDatastore:
        """The folder of studies, or what MONAI Label makes of an address."""
        if self.studies.startswith(WEB):
            return super().init_datastore()
        return StudiesDatastore(
            self.studies,
            extensions=settings.MONAI_LABEL_DATASTORE_FILE_EXT,
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def init_infers(self) -> dict[str, TagInferTask]:
        return {name: TagInferTask(path, self.conf) for name, path in self.models.items()}

    def init_trainers(self) -> dict[str, TagTrainTask]:
        tasks = {
            name: TagTrainTask(path, self.conf, Path(self.app_dir) / "work" / name)
            for name, path in self.models.items()
        }
        return {name: task for name, task in tasks.items() if task.is_valid()}

    def init_strategies(self) -> dict[str, Any]:
        offered: dict[str, Any] = {"random": Random(), "first": First()}
        for name, path in self.models.items():
            own = "disagreement" if len(self.models) == 1 else f"disagreement_{name}"
            offered[own] = DisagreementStrategy(self._infers[name], path)
        return offered

    def on_init_complete(self) -> None:
        """Say where and how, below what MONAI Label logs while it starts."""
        super().on_init_complete()
        address = f"http://{served_host()}:{settings.MONAI_LABEL_SERVER_PORT}"
        ohif = "reads no folders; start the server on a DICOMweb address in place of the folder."
        if self.studies.startswith(WEB):
            ohif = f"open {address}/ohif/, a study, MONAI Label."
        print(STEPS.format(address=address, ohif=ohif), flush=True)

    def infer(self, request: dict[str, Any], datastore: Any = None) -> Any:
        """As MONAI Label, with errors that a client can show."""
        with told():
            image = request.get("image")
            if isinstance(image, str) and not os.path.exists(image):
                store = datastore or self.datastore()
                if not store.get_image_uri(image):
                    known = ", ".join(sorted(store.list_images())[:5])
                    raise ValueError(f"image {image!r} is not among the studies (such as {known}); name one")
            return super().infer(request, datastore)

    def train(self, request: dict[str, Any]) -> Any:
        """As MONAI Label, with errors that a client can show."""
        with told():
            return super().train(request)

    def next_sample(self, request: dict[str, Any]) -> Any:
        """As MONAI Label, with errors that a client can show."""
        with told():
            return super().next_sample(request)


@contextmanager
def told() -> Iterator[None]:
    """Answer 422 with the message of an error that says what is wrong; the server answers others with a bare 500."""
    try:
        yield
    except MONAILabelException as error:
        raise HTTPException(status_code=422, detail=error.msg) from error
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        raise HTTPException(status_code=422, detail=str(root_cause(error))) from error
