"""A training that starts from earlier weights, by the bundle's own configuration."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_nce.data import training_data
from monai_nce.errors import find_input_error
from monai_nce.handlers import TrainedFor
from monai_nce.handlers.weights.state_file import read_state_dict, write_torch
from monai_nce.networks import Generator

EARLIER = [{"name": "earlier", "kind": "real", "patients": 5}]


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """Weights of the tiny networks, made for the bundle's usual window."""
    said = TrainedFor("NECT", "CECT", 50, 300, slices=3, data=EARLIER)
    for name, made_for in {"model": said, "auxiliary": said.reversed()}.items():
        network = Generator(channels=(8, 8), hidden_channels=8, num_groups=32, residual=True)
        weights: Any = network.state_dict()
        made_for.write_to(weights, network)
        (tmp_path / "earlier").mkdir(exist_ok=True)
        write_torch(weights, tmp_path / "earlier" / f"{name}.pt")
    return tmp_path / "earlier" / "model.pt"


def training(bundle: Path, *overlays: str, **overrides: Any) -> ConfigWorkflow:
    files = [str(bundle / "configs" / f"{name}.json") for name in ("train", *overlays)]
    made = ConfigWorkflow(config_file=files, workflow_type="train", logging_file=False, run_id="training", **overrides)
    made.initialize()
    return made


def test_networks_start_from_the_weights_and_what_they_make_says_so(
    bundle: Path, tiny: dict, earlier: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = training(bundle, "single", **tiny, init_weights=str(earlier))
    for name in ("model", "auxiliary"):
        network = made.parser.get_parsed_content("network" if name == "model" else name)
        saved = read_state_dict(earlier.with_name(f"{name}.pt"))
        assert all(torch.equal(value, saved[key]) for key, value in network.state_dict().items())
    made.run()
    assert f"starting from {earlier} and auxiliary.pt beside it" in capfd.readouterr().out
    said = TrainedFor.read(Path(tiny["output_dir"]) / "models" / "model.pt")
    assert said.data == [*training_data(tiny["dataset_dir"]), *EARLIER]
    assert said.started_from == sha256(earlier.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"window_width": 400}, "width 300, not for a window of level 50 and width 400: choose other weights"),
        ({"network_def#channels": [8, 16]}, "a network of channels"),
        ({"init_weights": "missing.pt"}, "missing.pt: no such checkpoint"),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_any_work(
    bundle: Path, tiny: dict, earlier: Path, flags: dict[str, Any], expected: str
) -> None:
    with pytest.raises(Exception) as error:  # noqa: PT011  MONAI's parser wraps it
        training(bundle, **{**tiny, "init_weights": str(earlier), **flags}).run()
    assert expected in str(find_input_error(error.value))
    assert not Path(tiny["output_dir"]).exists()
