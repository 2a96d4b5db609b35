from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_nce.bundle_folder import bundle_folder
from monai_nce.data.files.sha256 import file_sha256
from monai_nce.errors import InputError
from monai_nce.uncertainty import CALIBRATION, SIGNALS, Calibration, HalfWidth, calibration_beside

MADE = Calibration(
    model_sha256="",
    auxiliary_sha256="",
    coverage=0.9,
    half_width=HalfWidth([0.0] * len(SIGNALS), 0.0),
    body=2.0,
    organs={"liver": 1.5, "aorta": 4.0},
    organ_means={"liver": 9.0, "aorta": 30.0},
    data={"kind": "virtual", "name": "a data set", "patients": {"fitted": 10, "calibrated": 20}},
)


@pytest.fixture
def beside(tmp_path):
    """Weights with their calibration beside them."""
    for name in ("model.pt", "auxiliary.pt"):
        (tmp_path / name).write_bytes(name.encode())
    hashes = [file_sha256(tmp_path / name) for name in ("model.pt", "auxiliary.pt")]
    made = dataclasses.replace(MADE, model_sha256=hashes[0], auxiliary_sha256=hashes[1])
    made.write(tmp_path / CALIBRATION)
    return tmp_path, made


def test_it_is_read_as_it_was_written(beside):
    folder, made = beside
    assert calibration_beside(folder / "model.pt", stride=1) == made


def test_margins_are_multiplied_for_what_they_are_for():
    signals = torch.zeros(1, len(SIGNALS), 2, 2, 2)
    assert MADE(signals).unique().tolist() == [2.0]
    assert MADE(signals, "organs").unique().tolist() == [4.0]
    assert "90% of the body's voxels" in MADE.says() and "20 virtual patients" in MADE.says()
    assert "90% of the voxels of each organ" in MADE.says("organs") and MADE.says("organs").isascii()
    assert MADE.says_of_means.startswith("In 90% of patients")
    with pytest.raises(InputError, match="uncertainty_for: expected one of body, organs but got 'all'"):
        MADE.factor("all")


@pytest.mark.parametrize("name", ["model.pt", "auxiliary.pt"])
def test_other_weights_are_refused(beside, name):
    folder, made = beside
    (folder / name).write_bytes(b"others")
    with pytest.raises(InputError, match=rf"was made for weights of SHA-256 .{{12}}… but .*{name} has .{{12}}…: make"):
        calibration_beside(folder / "model.pt")
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name}: no such file: margins of error need"):
        calibration_beside(folder / "model.pt")


def test_another_stride_is_refused(beside):
    with pytest.raises(InputError, match="uncertainty: is calibrated for stride 1 but got 3"):
        calibration_beside(beside[0] / "model.pt", stride=3)


def test_weights_without_one_are_told_how_to_make_it(tmp_path):
    with pytest.raises(InputError, match="no such calibration: .* by python -m benchmarks.uncertainty"):
        calibration_beside(tmp_path / "model.pt")


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_damaged_files_are_refused_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / CALIBRATION
    MADE.write(path)
    content = json.loads(path.read_text())
    key = data.draw(st.sampled_from(sorted(content)))
    if data.draw(st.booleans()):
        del content[key]
        if key == "made_with":  # has a default
            return
    else:
        content[key] = data.draw(st.sampled_from([None, "x", -1, float("nan"), [], {"a": None}]))
        if key in ("data", "made_with", "organs", "organ_means", "model_sha256", "auxiliary_sha256"):
            content["body"] = float("inf")
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="not a calibration of margins of error: expected what") as caught:
        Calibration.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", '{"format": 2}'])
def test_no_calibration_at_all(tmp_path, text):
    path = tmp_path / CALIBRATION
    path.write_text(text)
    with pytest.raises(InputError, match="not a calibration of margins of error"):
        Calibration.read(path)


def test_the_weights_that_ship_have_theirs():
    made = calibration_beside(bundle_folder() / "models" / "model.pt", stride=1)
    assert made.coverage == 0.9 and {"liver", "spleen", "aorta", "kidney_cortex"} <= set(made.organs)
    assert made.factor("organs") >= made.body > 0
