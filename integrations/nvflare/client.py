"""Train a stage of the bundle on this site's data, round by round (NVFlare's Client API, MONAI's MonaiAlgo).

NVFlare starts it at every site. The data never leave it: what is sent are weights, the number of slice stacks they were
trained on and what the weights file says of its data (name, kind, licence, numbers of patients and scans).
"""

import argparse
import json
import os
from pathlib import Path

import nvflare.client as flare
from monai.fl.client import MonaiAlgo
from monai.fl.utils.exchange_object import ExchangeObject
from nvflare.apis.fl_constant import FLMetaKey

from monai_nce.bundle_folder import bundle_folder
from monai_nce.errors import InputError
from monai_nce.federated import NETWORKS, config_files
from monai_nce.handlers import TrainedFor

HERE = Path(__file__).parent  # where NVFlare puts the files that came with the job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset_dir", default=os.environ.get("NCE_DATASET_DIR", ""))
    parser.add_argument("--output_dir", default=os.environ.get("NCE_OUTPUT_DIR", "runs/federated"))
    args = parser.parse_args()
    if not args.dataset_dir:
        raise InputError("NCE_DATASET_DIR: expected this site's data set, made by `nce prepare`, but it is not set")
    job = json.loads((HERE / "job.json").read_text(encoding="utf-8"))
    stage, output_dir = job["stage"], Path(args.output_dir) / job["stage"]

    flare.init()
    algo = MonaiAlgo(
        bundle_root=str(bundle_folder()),
        config_train_filename=config_files(stage),
        config_evaluate_filename=None,
        local_epochs=job["local_epochs"],
        send_weight_diff=False,
        train_kwargs={
            **job["settings"],
            **({"earlier_dir": str(HERE / "earlier")} if stage == "stage2" else {}),
            "dataset_dir": args.dataset_dir,
            "output_dir": str(output_dir),
        },
    )
    algo.initialize({"client_name": flare.get_site_name()})
    while flare.is_running():
        received = flare.receive()
        if received is None:
            break
        algo.train(ExchangeObject(weights=received.params))
        weights = {key: value.numpy() for key, value in algo.get_weights().weights.items()}
        stacks = len(algo.trainer.data_loader.dataset) * job["local_epochs"]
        said = TrainedFor.read(output_dir / "models" / next(iter(NETWORKS[stage]))).plain()
        flare.send(flare.FLModel(params=weights, meta={FLMetaKey.NUM_STEPS_CURRENT_ROUND: stacks, "trained_for": said}))
    algo.finalize()


if __name__ == "__main__":
    main()
