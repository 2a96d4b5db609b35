"""Serve monai-nce in MONAI Label: enhance an image of its datastore, and train on a prepared data set."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from lib.enhance_task import EnhanceTask
from lib.train_task import BundleTrainTask
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.train import TrainTask

import monai_nce
from monai_nce.errors import InputError
from monai_nce.weights_store import find_weights


class EnhancementApp(MONAILabelApp):
    """Offer the model ``nce``, and ``nce_trained`` once a training has ended; no scoring, since nothing is labelled.

    ``--conf weights NAME`` names the weights of ``nce`` (default: those that ship), ``--conf dataset_dir DIR`` the data
    set to train on, and ``--conf output_dir DIR`` where trainings go (default: runs/monailabel).
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.weights = find_weights(conf.get("weights", "default")).resolve()
        self.dataset_dir = conf.get("dataset_dir", "")
        self.output_dir = Path(conf.get("output_dir", "runs/monailabel")).resolve()
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="monai-nce",
            description="Synthetic contrast-enhanced CT of non-contrast CT; research use only",
            version=monai_nce.__version__,
        )

    def init_infers(self) -> dict[str, InferTask]:
        return {"nce": EnhanceTask(self.weights), "nce_trained": EnhanceTask(self.output_dir / "model.pt")}

    def init_trainers(self) -> dict[str, TrainTask]:
        return {"nce": BundleTrainTask(self.dataset_dir, self.output_dir)}

    def infer(self, request: dict[str, Any], datastore: Any = None) -> Any:
        """Answer a model or an image that is not there by 404, and what cannot be enhanced by 400, each in one line."""
        models = [name for name, task in self._infers.items() if task.is_valid()]
        if request.get("model") not in models:
            raise HTTPException(404, f"{request.get('model')}: expected a model of {', '.join(models)}")
        image = request.get("image")
        if not image or not (os.path.exists(image) or (datastore or self.datastore()).get_image_uri(image)):
            raise HTTPException(404, f"image: expected an id of the datastore but got {image!r}; see /datastore/")
        with _answered():
            return super().infer(request, datastore)

    def train(self, request: dict[str, Any]) -> Any:
        with _answered():
            return super().train(request)


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise HTTPException(400, str(error)) from None
