from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from mlflow import MlflowClient
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from monai_nce.data import EpochSampler
from monai_nce.errors import InputError
from monai_nce.handlers import MLflowRun, StageCheckpoint, TrainingFolder, mlflow_run
from monai_nce.handlers.mlflow_run import MLflowStage

pytestmark = pytest.mark.slow  # MLflow makes its tables

EPOCHS, ITERATIONS = 3, 2


class Stopped(Exception):
    """Ends a training between two epochs."""


class Validator(Engine):
    """Score an epoch by its number; it runs before the stage is logged."""

    def __init__(self, stage: Engine) -> None:
        super().__init__(lambda engine, batch: None)
        stage.add_event_handler(Events.EPOCH_COMPLETED, self.score, stage)

    def score(self, stage: Engine) -> None:
        self.state.iteration = 1
        self.state.metrics = {"val_mse": 10.0 * stage.state.epoch}


def train(folder: Path, uri: str, resume: bool, stop_after: int | None = None) -> None:
    """Train two stages whose loss is the iteration's number, in an output folder, as the bundle does."""
    training = TrainingFolder(folder / "checkpoints", resume=resume)
    run = MLflowRun(uri, training, {"method": "separate", "seed": 0 if not resume else 1})
    for name in ("stage1", "stage2"):
        network = nn.Linear(1, 1)
        engine = Engine(lambda engine, batch: {"loss": float(engine.state.iteration)})
        engine.state.device = torch.device("cpu")  # type: ignore[attr-defined]
        path = folder / "checkpoints" / name
        StageCheckpoint(path, {"network": network}, resume, name, training=training).attach(engine)
        MLflowStage(run, name, ["loss"], [Validator(engine)]).attach(engine)
        if name == "stage2" and stop_after is not None:

            @engine.on(Events.EPOCH_STARTED(once=stop_after + 1))
            def stop() -> None:
                raise Stopped

        data = TensorDataset(torch.zeros(ITERATIONS))
        engine.run(DataLoader(data, sampler=EpochSampler(data, seed=0)), max_epochs=EPOCHS)
    run.close()


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/mlflow.db"


def runs(uri: str) -> list:
    client = MlflowClient(uri)
    (experiment,) = client.search_experiments(filter_string="name = 'monai-nce'")
    return client.search_runs([experiment.experiment_id])


def history(uri: str, run_id: str, key: str) -> dict[int, float]:
    return {point.step: point.value for point in MlflowClient(uri).get_metric_history(run_id, key)}


def test_a_resumed_training_goes_on_in_its_run_and_the_next_has_its_own(tmp_path: Path, uri: str) -> None:
    with pytest.raises(Stopped):
        train(tmp_path / "mine", uri, resume=False, stop_after=2)
    (stopped,) = runs(uri)
    assert stopped.info.status == "RUNNING" and stopped.info.run_name.startswith("mine ")
    train(tmp_path / "mine", uri, resume=True)
    (run,) = runs(uri)
    assert run.info.run_id == stopped.info.run_id and run.info.status == "FINISHED"
    assert run.data.params["method"] == "separate" and run.data.params["seed"] == "0"
    for stage in ("stage1", "stage2"):
        assert history(uri, run.info.run_id, f"{stage}/loss") == {1: 1.5, 2: 3.5, 3: 5.5}
        assert history(uri, run.info.run_id, f"{stage}/val_mse") == {1: 10, 2: 20, 3: 30}
    train(tmp_path / "other", uri, resume=False)
    assert len(runs(uri)) == 2


@pytest.mark.parametrize("uri", ["runs/mlruns", "file:///elsewhere/mlruns"])
def test_a_folder_is_refused_as_mlflow_does(uri: str) -> None:
    with pytest.raises(InputError, match="tracking_uri: expected a server or a database"):
        MLflowRun(uri, TrainingFolder(), {})


def test_without_mlflow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setattr(mlflow_run, "optional_import", lambda name: (None, False))
    with pytest.raises(InputError, match=r'pip install "monai-nce\[mlflow\]"'):
        MLflowRun(uri, TrainingFolder(), {})
