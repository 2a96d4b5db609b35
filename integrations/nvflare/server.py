"""Average the sites' weights of a stage, and write them as files that the bundle reads (NVFlare's FedAvg)."""

from pathlib import Path
from typing import Any

import numpy as np
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.workflows.fedavg import FedAvg

from monai_nce.federated import read_weights, said_by_sites, write_weights


class StageFedAvg(FedAvg):
    """Run FedAvg from the weights that came with the job, weighted by the sites' numbers of slice stacks.

    After each round the mean is written to ``weights`` in the job's folder of the server.

    Args:
        stage: one of ``monai_nce.federated.NETWORKS``.
        num_clients: sites to wait for in each round.
        num_rounds: rounds.
    """

    def __init__(self, stage: str, num_clients: int, num_rounds: int) -> None:
        super().__init__(num_clients=num_clients, num_rounds=num_rounds, persistor_id="", save_filename="weights")
        self.stage = stage
        self.said: dict[str, dict[str, Any]] = {}

    def load_model(self) -> FLModel:
        return FLModel(params=read_weights(self.stage, self._start()))

    def _aggregate_one_result(self, result: FLModel) -> bool:
        self.said[result.meta["client_name"]] = result.meta["trained_for"]
        return super()._aggregate_one_result(result)

    def save_model_file(self, model: FLModel, filepath: str) -> None:
        said = said_by_sites(dict(sorted(self.said.items()))) if any(self.said.values()) else None
        weights = {key: np.asarray(value) for key, value in model.params.items()}
        write_weights(self.stage, weights, self._start(), filepath, said)

    def _start(self) -> Path:
        job = self.fl_ctx.get_job_id()
        return Path(self.engine.get_workspace().get_app_custom_dir(job)) / "start"
