from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.exchange_object import ExchangeObject

from monai_nce.errors import InputError
from monai_nce.federated import NETWORKS, config_files, read_weights, write_start
from tests.tiny import TINY


def algo(bundle: Path, stage: str, tiny: dict[str, Any], output_dir: Path, **settings: Any) -> MonaiAlgo:
    made = MonaiAlgo(
        bundle_root=str(bundle),
        config_train_filename=config_files(stage),
        config_evaluate_filename=None,
        local_epochs=1,
        send_weight_diff=False,
        train_kwargs={"dataset_dir": tiny["dataset_dir"], "output_dir": str(output_dir), **TINY, **settings},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.initialize()
    return made


def test_monai_algo_trains_each_stage_by_its_configuration_and_no_other(bundle, tiny, tmp_path):
    for stage in NETWORKS:
        settings = {"earlier_dir": str(tmp_path / "all")} if stage == "stage2" else {}
        client = algo(bundle, stage, tiny, tmp_path / stage, **settings)
        write_start(stage, tmp_path / "start", 64, TINY)
        sent = read_weights(stage, tmp_path / "start")
        for last_epoch in (1, 2):  # two rounds of one epoch
            client.train(ExchangeObject(weights=sent))
            assert client.trainer.state.epoch == last_epoch
        back = client.get_weights().weights
        assert back.keys() == sent.keys()
        for file, (_, prefix) in NETWORKS[stage].items():
            changed = [
                key for key in sent if key.startswith(prefix) and not torch.equal(back[key], torch.as_tensor(sent[key]))
            ]
            assert len(changed) > 0.5 * sum(key.startswith(prefix) for key in sent), f"{file} was not trained"
            (tmp_path / "all").mkdir(exist_ok=True)
            shutil.copy(tmp_path / stage / "models" / file, tmp_path / "all" / file)
    assert {file.name for file in (tmp_path / "stage2" / "models").glob("*.pt")} == {"model.pt", "model_best.pt"}


def test_stage_2_says_which_weights_it_lacks(bundle, tiny, tmp_path):
    client = algo(bundle, "stage2", tiny, tmp_path / "out", earlier_dir=str(tmp_path / "none"))
    write_start("stage2", tmp_path / "start", 64, TINY)
    with pytest.raises(InputError, match="none/auxiliary.pt: no such checkpoint"):
        client.train(ExchangeObject(weights=read_weights("stage2", tmp_path / "start")))
    assert not (tmp_path / "out" / "models").exists()
