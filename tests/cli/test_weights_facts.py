from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from monai_nce.bundle_folder import bundle_folder
from monai_nce.cli.weights_facts import facts_in_words, figures_of, weights_facts
from monai_nce.errors import InputError
from monai_nce.handlers import TrainedFor
from monai_nce.handlers.weights.state_file import write_torch


def save(path: Path, said: TrainedFor | None = None) -> Path:
    weights: Any = nn.Conv2d(3, 2, 1).state_dict()
    if said is not None:
        said.write_to(weights)
    write_torch(weights, path)
    return path


def test_the_shipped_weights() -> None:
    facts = weights_facts(bundle_folder() / "models" / "model.pt")
    words = facts_in_words(facts)
    assert words["makes"].startswith("CECT from NECT") and "research use only" in words["makes"]
    assert words["window"] == "level 50, width 300 HU" and words["pixels"] == "2.6667 mm"
    assert "0.95 million parameters" in words["network"] and words["network back"] == "comes with it"
    assert "144 virtual patients" in words["learnt from"] and "3D Slicer" in words["licence"]
    assert "mse 0.0032" in words["figures"]
    json.dumps(facts)


def test_weights_that_say_nothing(tmp_path: Path) -> None:
    facts = weights_facts(save(tmp_path / "model.pt"))
    assert facts["parameters"] == 3 * 2 + 2
    assert facts["source"] is facts["licence"] is facts["card"] is facts["figures"] is facts["auxiliary"] is None
    words = facts_in_words(facts)
    assert words["makes"].startswith("unknown from unknown") and words["pixels"] == words["licence"] == "unknown"


def test_weights_for_mri_have_no_hu(tmp_path: Path) -> None:
    facts = weights_facts(save(tmp_path / "model.pt", TrainedFor("T2", "PD", 500, 1000)))
    assert facts_in_words(facts)["window"] == "level 500, width 1000"


def test_a_file_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "model.pt")
    monkeypatch.chdir(tmp_path)
    assert weights_facts(Path("model.pt"))["path"] == str(tmp_path / "model.pt")


@pytest.mark.parametrize("place", [".", ".."])
@pytest.mark.parametrize("content", ["measured", "other", "[]", "{", '{"about": 3}', '{"about": {}}'])
def test_figures_are_those_of_these_very_weights(place: str, content: str, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    network = save(tmp_path / "models" / "model.pt")
    digest = sha256(network.read_bytes()).hexdigest()
    value = {"mean": 0.25, "per_patient": {"a": 0.25}}
    if content in ("measured", "other"):
        about = {"checkpoint_sha256": digest if content == "measured" else "0", "data": "ours", "patients": 2}
        content = json.dumps({"about": about, "identity": {"mse": value}, "separate": {"mse": value}, "organs_hu": {}})
    (network.parent / place / "metrics.json").write_text(content)
    figures = figures_of(network, digest)
    if figures is None:
        assert digest not in content
        return
    assert "per_patient" not in json.dumps(figures)
    words = facts_in_words(weights_facts(network))["figures"]
    assert words == "ours, 2 patients\ninput unchanged: mse 0.25\nseparate: mse 0.25"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("hello")
    with pytest.raises(InputError, match="model.pt: not a readable checkpoint"):
        weights_facts(tmp_path / "model.pt")
