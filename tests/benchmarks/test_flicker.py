from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import flicker as module
from benchmarks.flicker import flicker, joined_discs, main, table
from benchmarks.scan_catalogue import Scan
from monai_nce.handlers import TrainedFor
from monai_nce.networks import Generator


def in_each_place(organ: np.ndarray, by_place: list[float]) -> list[np.ndarray]:
    """Add what a place in the stack adds to an organ's own error, for each number of first slices left out."""
    stride = len(by_place)
    profiles = []
    for first in range(stride):
        places = (np.arange(len(organ)) - first) % stride
        profiles.append(np.where(np.arange(len(organ)) < first, np.nan, organ + np.array(by_place)[places]))
    return profiles


def test_what_a_place_adds_is_found():
    # slices 2 to 10 are in all; the first place adds 1, the middle one -2, the last 4
    found, chance = flicker(in_each_place(np.zeros(11), [1.0, -2, 4]))
    assert found == pytest.approx(6) and chance < 4


@settings(max_examples=10)
@given(st.lists(st.floats(-100, 100), min_size=12, max_size=30), st.lists(st.floats(-9, 9), min_size=2, max_size=4))
def test_ups_and_downs_of_the_organ_itself_are_none(organ, by_place):
    assert flicker(in_each_place(np.zeros(30), by_place))[0] == pytest.approx(np.ptp(by_place), abs=1e-9)
    whole = np.pad(np.array(organ), (0, 30 - len(organ)), mode="edge")
    assert flicker(in_each_place(whole, by_place))[0] == pytest.approx(np.ptp(by_place), abs=1e-9)


def test_chance_alone_is_told():
    """Errors that have nothing to do with places: what is found is what shuffling them gives."""
    rng = np.random.default_rng(0)
    pairs = [flicker([rng.normal(0, 3, 30) for _ in range(3)]) for _ in range(20)]
    found, chance = np.mean(pairs, axis=0)
    assert 0.5 < found < 1.5 and chance == pytest.approx(found, rel=0.3)


def test_slices_must_follow_each_other():
    profiles = in_each_place(np.zeros(12), [0.0, 5])
    assert flicker(profiles)[0] == 5
    for profile in profiles:
        profile[6] = np.nan
    assert np.isnan(flicker(profiles)).all(), "runs of five slices"


def test_discs_are_joined_along_z(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((20, 20, 7), np.int16), np.diag([1.0, 1, 5, 1])), tmp_path / "ct.nii.gz")
    discs = {"aorta": [[4.0, 10, 5, 1], [12.0, 10, 25, 3]], "bowel": [[4.0, 4, 5, 2], [4.0, 4, 25, 2]]}
    scan = Scan("ct", tmp_path / "ct.nii.gz", discs=discs)
    scan.__dict__["volume"] = np.zeros((20, 20, 7), np.float32), np.diag([1.0, 1, 5, 1])
    (mask,) = joined_discs(scan).values()
    assert mask.any((0, 1)).tolist() == [False, True, True, True, True, True, False]
    # halfway: middle at 8 and 10, radius 2
    i, j = np.nonzero(mask[..., 3])
    assert (i.mean(), j.mean(), len(i)) == (8, 10, 13)


def test_the_table_names_the_worst_organ():
    found = {"one": {"1": {"liver": (0.0, 0.0)}, "3": {"liver": (1.0, 9.0), "kidney_left": (2.46, 0.7)}}}
    text = table(found, {name: {"step": 0.04, "mse": 0.01} for name in ("1", "3")})
    assert "| 3 | 2.5 HU (kidney left; 0.7 by chance) | 0.0 HU | 0.0100 |" in text


@pytest.mark.slow
def test_from_scan_to_figures(tmp_path: Path, monkeypatch, capsys):
    """A network that brightens the last slice of a stack: 11 HU without blending, nothing with it."""
    torch.manual_seed(0)
    network = Generator(channels=(8, 8), hidden_channels=8, residual=True)
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([0.0, 0.0, 0.2]))
    state = network.state_dict()
    TrainedFor("NECT", "CECT", 50.0, 300.0, 5.0, 3).write_to(state, network)
    torch.save(state, tmp_path / "model.pt")
    hu = np.full((40, 40, 24), -1000, np.int16)
    hu[5:35, 5:35] = 40
    nib.save(nib.Nifti1Image(hu, np.diag([5.0, 5, 5, 1])), tmp_path / "ct.nii.gz")
    labels = np.zeros(hu.shape, np.uint8)
    labels[21:34, 6:34], labels[6:14, 6:34], labels[16:19, 15:25] = 5, 1, 52
    nib.save(nib.Nifti1Image(labels, np.diag([5.0, 5, 5, 1])), tmp_path / "organs.nii.gz")
    monkeypatch.setattr(module, "TEST_PATIENTS", range(1))
    out = tmp_path / "flicker.json"
    given = ["--checkpoint", str(tmp_path / "model.pt"), "--scans", str(tmp_path / "ct.nii.gz"), "--out", str(out)]
    assert main(given) == 0
    content = json.loads(out.read_text())
    liver = {name: of["liver"][0] for name, of in content["flicker"]["ct"].items()}
    assert liver["3, not blended"] > 5 and max(liver["1"], liver["2"], liver["3"]) < 0.5, liver
    assert content["phantoms"]["3"]["step"] < 0.01 < content["phantoms"]["3, not blended"]["step"]
    assert "| 3, not blended | " in capsys.readouterr().out


def test_wrong_input_is_one_line(tmp_path, capsys):
    assert main(["--checkpoint", str(tmp_path / "missing.pt")]) == 2
    assert "missing.pt" in capsys.readouterr().err
