from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigWorkflow, create_workflow

from monai_nce.data import SaveImageNiftid
from monai_nce.errors import InputError, find_input_error
from monai_nce.handlers import TrainedFor, WeightsSaver
from monai_nce.inferers import SliceStackInferer, runtime
from monai_nce.inferers.torch_backend import TorchBackend
from monai_nce.networks import Generator
from monai_nce.phantom import make_phantom_patient
from monai_nce.precision import best_precision
from monai_nce.visualize.page.embed import unpack
from tests.visualize.page.pages import volume_text

REAL = os.environ.get("NCE_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="NCE_REAL_DATA is not set")
CONFIG = "bundles/nce/configs/inference.json"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A small generator that looks at what it is given and changes it, and the overrides that load it."""
    torch.manual_seed(0)
    network = Generator(channels=(8, 8), hidden_channels=8, residual=True)
    torch.nn.init.normal_(network.head.weight, std=0.005)
    torch.nn.init.constant_(network.head.bias, 0.3)  # every voxel of the window grows brighter
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(network.state_dict(), path)
    return path, {"checkpoint": str(path), "network_def#channels": [8, 8], "network_def#hidden_channels": 8}


def scan(shape=(40, 50, 6), seed=0) -> np.ndarray:
    """A cone of tissue with a bone and a gas bubble inside, in air; neither symmetric nor the same in two slices."""
    x, y, z = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    hu = np.full(shape, -1000.0)
    body = (x / (0.4 * shape[0])) ** 2 + (y / (0.4 * shape[1])) ** 2 < 1 + 0.03 * z
    hu[body] = 40 + 10 * np.random.default_rng(seed).standard_normal(int(body.sum()))
    hu[(x - 4) ** 2 + (y + 6) ** 2 < 16] = 800
    hu[(x + 2) ** 2 + (y - 6) ** 2 < 9] = -900
    return np.round(hu).astype(np.int16)


def write(path: Path, hu: np.ndarray, affine: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(hu, affine), path)
    return path


def test_strict_refuses_what_the_weights_were_not_made_for(infer, checkpoint, tmp_path):
    patient = make_phantom_patient(0, size=64, slices=6)
    nect = write(tmp_path / "nect.nii.gz", patient.nect, patient.affine)
    infer(nect, tmp_path / "out", **checkpoint[1], strict=True)
    assert (tmp_path / "out" / "nect_synthetic_cect.nii.gz").exists()
    cect = write(tmp_path / "cect.nii.gz", patient.cect, patient.affine)
    with pytest.raises(RuntimeError) as caught:
        infer(cect, tmp_path / "none", **checkpoint[1], strict=True)
    assert f"{cect}: seems to show contrast medium already: " in str(find_input_error(caught.value))
    assert not (tmp_path / "none").exists()
    with pytest.warns(UserWarning, match="cect.nii.gz: seems to show contrast medium already: "):
        infer(cect, tmp_path / "warned", **checkpoint[1])
    assert (tmp_path / "warned" / "cect_synthetic_cect.nii.gz").exists()


def test_a_report_holds_the_scan_and_the_result(infer, checkpoint, tmp_path):
    nect = write(tmp_path / "nect.nii.gz", scan(), np.diag([-2.5, -2.5, 4.0, 1.0]))
    infer(nect, tmp_path / "out", **checkpoint[1], report=True)
    result = nib.load(tmp_path / "out" / "nect_synthetic_cect.nii.gz")
    html = (tmp_path / "out" / "nect_synthetic_cect.html").read_text(encoding="utf-8")
    held = {role: unpack(volume_text(html, f"volume-0-{role}")) for role in ("scan", "change")}
    source, change = (np.asarray(image.dataobj) for image in held.values())
    np.testing.assert_array_equal(source, scan())
    np.testing.assert_array_equal(source + change, np.asarray(result.dataobj))
    np.testing.assert_allclose(held["scan"].affine, result.affine)
    for text in ("torch in fp32", "stacks of 3, stride 1", "data that they do not name", "values of the scan"):
        assert text in html
    assert str(tmp_path) not in html


AFFINES = {
    "RAS": np.diag([2.5, 2.5, 4.0, 1.0]),
    "LPS": np.array([[-2.5, 0, 0, 60], [0, -2.5, 0, 80], [0, 0, 4.0, -12], [0, 0, 0, 1.0]]),
    "coarse": np.diag([3.2, 3.1, 5.0, 1.0]),
    "fine": np.diag([1.1, 1.1, 2.0, 1.0]),
}


@pytest.mark.parametrize("name", AFFINES)
def test_output_keeps_grid_and_hu_beyond_window_and_says_that_it_is_synthetic(infer, checkpoint, tmp_path, name):
    hu, affine = scan(), AFFINES[name]
    infer(write(tmp_path / "scan.nii.gz", hu, affine), tmp_path / "out", **checkpoint[1])
    image = nib.load(tmp_path / "out" / "scan_synthetic_cect.nii.gz")
    out = np.asarray(image.dataobj)
    assert out.shape == hu.shape and out.dtype == np.int16
    np.testing.assert_allclose(image.affine, affine, atol=1e-4)
    assert b"SYNTHETIC" in image.header["descrip"].tobytes()
    outside = hu <= -1000
    np.testing.assert_array_equal(out[outside], hu[outside])
    inside = (hu > 0) & (hu < 80)
    change = out[inside].astype(int) - hu[inside]
    assert 20 < change.mean() < 60  # tanh(0.3) = 0.29 of what is left to the window's end: (200 - 40) * 0.29 = 46
    # bone beyond the window carries over; at its rim the network's coarser grid mixes bone and tissue
    bone = out[hu == 800].astype(int) - 800
    assert np.median(bone) == 0 and (out[hu == 800] > 600).all()
    assert (out[(hu == -900)] < -500).all()
    assert (tmp_path / "out" / "scan_synthetic_cect.png").stat().st_size > 5000


def test_a_permuted_scan_gives_the_permuted_result(infer, checkpoint, tmp_path):
    hu, affine = scan(), AFFINES["RAS"]
    infer(write(tmp_path / "a.nii.gz", hu, affine), tmp_path, **checkpoint[1])
    image = nib.Nifti1Image(hu, affine)
    turned = image.as_reoriented(nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt("SLP")))  # fmt: skip
    nib.save(turned, tmp_path / "b.nii.gz")
    infer(tmp_path / "b.nii.gz", tmp_path, **checkpoint[1])
    a = nib.load(tmp_path / "a_synthetic_cect.nii.gz")
    b = nib.load(tmp_path / "b_synthetic_cect.nii.gz")
    np.testing.assert_allclose(b.affine, turned.affine, atol=1e-4)
    back = nib.as_closest_canonical(b)
    np.testing.assert_array_equal(np.asarray(back.dataobj), np.asarray(a.dataobj))


@pytest.mark.parametrize("depth", [1, 2])
def test_volumes_of_one_and_two_slices(infer, checkpoint, tmp_path, depth):
    hu = scan((40, 50, 6))[..., :depth]
    infer(write(tmp_path / "thin.nii", hu, AFFINES["RAS"]), tmp_path, **checkpoint[1])
    assert nib.load(tmp_path / "thin_synthetic_cect.nii.gz").shape == (40, 50, depth)


def test_a_folder_is_done_volume_by_volume_and_again_over_its_own_results(infer, checkpoint, tmp_path):
    for name in ("one", "two"):
        write(tmp_path / f"{name}.nii.gz", scan(), AFFINES["RAS"])
    for _ in range(2):
        infer(tmp_path, tmp_path, **checkpoint[1])
        results = sorted(path.name for path in tmp_path.glob("*synthetic*.nii.gz"))
        assert results == ["one_synthetic_cect.nii.gz", "two_synthetic_cect.nii.gz"]


def test_a_bad_volume_does_not_stop_the_others(infer, checkpoint, tmp_path, capfd):
    write(tmp_path / "a.nii.gz", scan(), AFFINES["RAS"])
    write(tmp_path / "b_raw.nii.gz", scan() + 1024, AFFINES["RAS"])
    labels = np.zeros((40, 50, 6), np.uint8)
    labels[10:20, 10:20] = 1
    write(tmp_path / "liver.nii.gz", labels, AFFINES["RAS"])
    infer(tmp_path, tmp_path / "out", **checkpoint[1])
    made = ["a_synthetic_cect.nii.gz", "a_synthetic_cect.png", "manifest.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == made
    volumes = json.loads((tmp_path / "out" / "manifest.json").read_text())["volumes"]
    assert [(Path(one["input"]).name, one["status"]) for one in volumes] == [
        ("a.nii.gz", "done"),
        ("b_raw.nii.gz", "failed"),
        ("liver.nii.gz", "skipped"),
    ]
    assert volumes[0]["seconds"] > 0 and volumes[0]["weights"]["file"] == str(checkpoint[0])
    left = [line for line in capfd.readouterr().err.splitlines() if line.startswith("left out")]
    assert left[0].startswith(
        f"left out: {tmp_path / 'b_raw.nii.gz'}: values from 24 to 1824 cannot be Hounsfield units: "
    )
    assert left[1] == f"left out (no fault): {tmp_path / 'liver.nii.gz'}: holds labels"
    with pytest.raises(RuntimeError) as caught:
        infer(tmp_path, tmp_path / "none", **checkpoint[1], strict=True)
    assert "b_raw.nii.gz" in str(find_input_error(caught.value)) and not (tmp_path / "none").exists()


def test_a_result_under_another_name_is_refused_by_its_header(infer, checkpoint, tmp_path):
    infer(write(tmp_path / "a.nii.gz", scan(), AFFINES["RAS"]), tmp_path, **checkpoint[1])
    renamed = (tmp_path / "a_synthetic_cect.nii.gz").rename(tmp_path / "scan.nii.gz")
    with pytest.raises(RuntimeError) as caught:
        infer(renamed, tmp_path / "out", **checkpoint[1])
    assert isinstance(caught.value.__cause__, InputError) and "synthetic already" in str(caught.value.__cause__)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flag", [{"mode": "foo"}, {"spacing": 0}, {"batch_size": 0}, {"window_width": 0}, {"output_dir": "a_file"}]
)
def test_settings_that_cannot_be_are_refused_in_one_line(infer, checkpoint, tmp_path, flag):
    path = write(tmp_path / "a.nii.gz", scan(), AFFINES["RAS"])
    (tmp_path / "a_file").write_text("")
    flag = {key: str(tmp_path / value) if key == "output_dir" else value for key, value in flag.items()}
    with pytest.raises(RuntimeError) as caught:
        infer(path, **{"output_dir": tmp_path / "out", **checkpoint[1], **flag})
    causes, cause = [], caught.value
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__
    assert any(isinstance(c, InputError) for c in causes)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ({"window_width": 400}, "trained for a window of level 50 and width 300, not for a window of level 50 and wid"),
        ({"spacing": 1.3333}, "trained for pixels of 2.6667 mm, not for pixels of 1.3333 mm: choose oth"),
        ({"source_name": "T2", "target_name": "PD"}, "trained for NECT to CECT, not for T2 to PD: choose other w"),
    ],
)
def test_the_shipped_weights_are_refused_for_what_they_were_not_trained_for(infer, tmp_path, flag, said):
    path = write(tmp_path / "a.nii.gz", scan(), AFFINES["RAS"])
    with pytest.raises(RuntimeError) as caught:
        infer(path, tmp_path / "out", **flag)
    assert said in str(find_input_error(caught.value))
    assert not (tmp_path / "out").exists()


def test_an_auxiliary_networks_weights_are_refused(infer, tmp_path):
    auxiliary = Generator(channels=(8, 8), hidden_channels=8, residual=True)
    trained_for = TrainedFor("CECT", "NECT", 50, 300, 2.5, slices=3)
    WeightsSaver(auxiliary, tmp_path / "auxiliary.pt", trained_for=trained_for)(Engine(lambda engine, batch: None))
    path = write(tmp_path / "a.nii.gz", scan(), AFFINES["RAS"])
    with pytest.raises(RuntimeError) as caught:
        infer(path, tmp_path / "out", checkpoint=str(tmp_path / "auxiliary.pt"))
    assert "trained for CECT to NECT, not for NECT to CECT: choose o" in str(find_input_error(caught.value))
    assert not (tmp_path / "out").exists()


def test_clamp_mode_limits_the_body_to_the_window(infer, checkpoint, tmp_path):
    hu = scan()
    infer(write(tmp_path / "a.nii.gz", hu, AFFINES["RAS"]), tmp_path, mode="clamp", **checkpoint[1])
    out = np.asarray(nib.load(tmp_path / "a_synthetic_cect.nii.gz").dataobj)
    assert out[hu == 800].max() <= 200
    np.testing.assert_array_equal(out[hu == -1000], -1000)


PAPER_LIKE = {"channels": (16, 8, 8), "hidden_channels": 16, "num_groups": 8, "residual": False}


@pytest.fixture
def paper_like(tmp_path: Path) -> Path:
    """Weights of another network than the default's, trained for other images, as a training saves them."""
    network = Generator(**PAPER_LIKE)
    path = tmp_path / "models" / "model.pt"
    trained_for = TrainedFor("NCCT", "CTA", window_level=40, window_width=400, spacing=1.3333, slices=3)
    WeightsSaver(network, path, trained_for=trained_for)(Engine(lambda engine, batch: None))
    return path


def test_everything_is_read_from_the_weights(infer, paper_like, tmp_path):
    run = infer(write(tmp_path / "a.nii.gz", scan(), AFFINES["RAS"]), tmp_path / "out", checkpoint=str(paper_like))
    network = run.parser.get_parsed_content("network_def")
    assert network.channels == (16, 8, 8) and network.num_groups == 8 and not network.residual
    assert run.parser.get_parsed_content("preprocessing").transforms[-2].spacing == pytest.approx(1.3333)
    said = {name: run.parser.get_parsed_content(name) for name in ("source_name", "target_name", "window_level")}
    assert said == {"source_name": "NCCT", "target_name": "CTA", "window_level": 40}
    assert (tmp_path / "out" / "a_synthetic_cta.nii.gz").is_file()


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        (
            {"network_def#residual": True},
            "trained for a network of residual False, not for a network of residual True: choose other weights, or "
            "give --network_def#residual 'False'",
        ),
        ({"network_def#channels": [16, 8]}, "a network of channels [16, 8, 8], not for a network of channels [16, 8]"),
        ({"slices": 5}, "stacks of 3 slices and a network of slices 3, not for stacks of 5 slices and a network of"),
        ({"window_level": 50}, "a window of level 40 and width 400, not for a window of level 50 and width 400"),
    ],
)
def test_what_contradicts_the_weights_is_refused(infer, paper_like, tmp_path, flag, said):
    with pytest.raises(RuntimeError) as caught:
        infer(
            write(tmp_path / "a.nii.gz", scan(), AFFINES["RAS"]), tmp_path / "out", checkpoint=str(paper_like), **flag
        )
    assert said in str(find_input_error(caught.value))
    assert not (tmp_path / "out").exists()


def test_an_auxiliary_network_is_taken_only_where_it_is_asked_for(infer, tmp_path):
    network, path = Generator(channels=(8, 8), hidden_channels=8), tmp_path / "auxiliary.pt"
    auxiliary = TrainedFor("NCCT", "CTA", 50, 300, 2.5, slices=3).reversed()
    WeightsSaver(network, path, trained_for=auxiliary)(Engine(lambda engine, batch: None))
    scan_path = write(tmp_path / "a.nii.gz", scan(), AFFINES["RAS"])
    with pytest.raises(RuntimeError) as caught:
        infer(scan_path, tmp_path / "out", checkpoint=str(path))
    assert "trained for CTA to NCCT, not for NCCT to CTA" in str(find_input_error(caught.value))
    infer(scan_path, tmp_path / "out", checkpoint=str(path), source_name="CTA", target_name="NCCT")


def test_the_network_is_known_without_weights(bundle, tmp_path):
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "inference.json"), workflow_type="inference", logging_file=False,
        bundle_root=str(tmp_path),
    )  # fmt: skip
    workflow.initialize()
    assert workflow.network_def.channels == (96, 96, 80, 64, 32, 16)


def test_create_workflow_from_another_folder(bundle, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.nii.gz", scan(), AFFINES["RAS"])
    workflow = create_workflow(
        config_file=str(bundle / "configs" / "inference.json"),
        workflow_type="inference",
        logging_file=False,
        input="a.nii.gz",
        output_dir="out",
        **checkpoint[1],
    )
    workflow.run()
    workflow.finalize()
    assert (tmp_path / "out" / "a_synthetic_cect.nii.gz").is_file()


def test_the_shipped_weights_are_found_from_another_folder(infer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.nii.gz", scan((40, 50, 2)), AFFINES["RAS"])
    infer("a.nii.gz", tmp_path / "out")
    out = np.asarray(nib.load(tmp_path / "out" / "a_synthetic_cect.nii.gz").dataobj)
    assert (out != scan((40, 50, 2))).any()


def bad_inputs(folder: Path) -> dict[str, tuple[str, str]]:
    """Name of the case to the path that is given and a word that the message must hold."""
    (folder / "empty").mkdir()
    (folder / "text.nii.gz").write_text("this is no image")
    write(folder / "nan.nii.gz", np.zeros((8, 8, 2)), np.eye(4))
    nib.save(nib.Nifti1Image(np.full((8, 8, 2), np.nan, dtype=np.float32), np.eye(4)), folder / "nan.nii.gz")
    return {name: (str(folder / name), name) for name in ("missing.nii.gz", "empty", "text.nii.gz", "nan.nii.gz")}


@pytest.mark.parametrize("name", ["missing.nii.gz", "empty", "text.nii.gz", "nan.nii.gz"])
def test_bad_input_names_the_file_and_leaves_nothing(infer, checkpoint, tmp_path, name):
    path, word = bad_inputs(tmp_path)[name]
    with pytest.raises(Exception) as caught:  # noqa: PT011  MONAI wraps what its transforms and configs raise
        infer(path, tmp_path / "out", **checkpoint[1])
    causes, cause = [], caught.value
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__
    refusal = next(c for c in causes if isinstance(c, InputError))
    assert word in str(refusal) and "\n" not in str(refusal)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text.nii.gz", "checkpoint", "flag"])  # found while reading, loading, parsing
def test_the_command_line_ends_with_one_line(run_bundle, checkpoint, tmp_path, name):
    overrides = dict(checkpoint[1])
    if name == "checkpoint":
        path, word = str(write(tmp_path / "a.nii.gz", scan(), AFFINES["RAS"])), "bad.pt"
        (tmp_path / "bad.pt").write_bytes(b"PK\x03\x04 damaged")
        overrides["checkpoint"] = str(tmp_path / "bad.pt")
    elif name == "flag":
        path, word = str(write(tmp_path / "a.nii.gz", scan(), AFFINES["RAS"])), "did you mean --batch_size?"
        overrides["bacth_size"] = 2
    else:
        path, word = bad_inputs(tmp_path)[name]
    done = run_bundle("--config_file", CONFIG, input=path, output_dir=tmp_path / "out", **overrides)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and word in errors[0], done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("strict", [False, True])
def test_the_others_are_made_where_one_is_gone_or_fails_when_its_turn_comes(
    infer, checkpoint, tmp_path, monkeypatch, capfd, strict
):
    paths = [write(tmp_path / "in" / f"{number}.nii.gz", scan(), AFFINES["RAS"]) for number in range(4)]
    save, predict, computed = SaveImageNiftid.__call__, SliceStackInferer.__call__, []

    def vanish(self, data):
        paths[1].unlink(missing_ok=True)
        return save(self, data)

    def run_out(self, *arguments, **named):
        computed.append(1)
        if len(computed) == 2:
            raise MemoryError("JOHN DOE")
        return predict(self, *arguments, **named)

    monkeypatch.setattr(SaveImageNiftid, "__call__", vanish)
    monkeypatch.setattr(SliceStackInferer, "__call__", run_out)
    if strict:
        with pytest.raises(Exception) as caught:  # noqa: PT011  MONAI wraps what its configs raise
            infer(tmp_path / "in", tmp_path / "out", strict=True, **checkpoint[1])
        assert "1.nii.gz: no such file" in str(find_input_error(caught.value))
    else:
        infer(tmp_path / "in", tmp_path / "out", **checkpoint[1])
        out, err = capfd.readouterr()
        left_out = [f"{paths[1]}: no such file", f"{paths[2]}: not enough memory while it was computed"]
        assert [line for line in err.splitlines() if "left out" in line] == [f"left out: {one}" for one in left_out]
        assert "2 of 4 volumes" in out and "DOE" not in out + err
        volumes = json.loads((tmp_path / "out" / "manifest.json").read_text())["volumes"]
        assert [one["status"] for one in volumes] == ["done", "failed", "failed", "done"]
    made = sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix == ".gz")
    assert made == [f"{number}_synthetic_cect.nii.gz" for number in ((0,) if strict else (0, 3))]


def test_a_scan_whose_result_cannot_be_written_is_left_out(infer, checkpoint, tmp_path, capfd):
    for number in range(3):
        write(tmp_path / "in" / f"{number}.nii.gz", scan(), AFFINES["RAS"])
    (tmp_path / "out" / "1_synthetic_cect.nii.gz" / "folder").mkdir(parents=True)
    infer(tmp_path / "in", tmp_path / "out", **checkpoint[1])
    assert "1_synthetic_cect.nii.gz: does not say which scan it was made from" in capfd.readouterr().err
    assert all((tmp_path / "out" / f"{number}_synthetic_cect.png").is_file() for number in (0, 2))
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_without_overlap_of_stacks_each_slice_is_predicted_once(infer, checkpoint, tmp_path, monkeypatch):
    passes: list[int] = []
    call = TorchBackend.__call__

    def counted(self, stacks):
        passes.append(len(stacks))
        return call(self, stacks)

    monkeypatch.setattr(TorchBackend, "__call__", counted)
    hu = scan()
    results = []
    for stride, stacks in ((1, 6), (3, 2)):
        passes.clear()
        infer(write(tmp_path / "a.nii.gz", hu, AFFINES["RAS"]), tmp_path, stride=stride, **checkpoint[1])
        assert sum(passes) == 3 + stacks  # the first are the check of the backend
        results.append(np.asarray(nib.load(tmp_path / "a_synthetic_cect.nii.gz").dataobj).astype(int))
        inside = (hu > 0) & (hu < 80)
        assert 20 < (results[-1][inside] - hu[inside]).mean() < 60
    assert 0 < np.abs(results[0] - results[1])[inside].mean() < 10


@pytest.mark.slow
def test_the_defaults_choose_a_backend_that_is_near_the_network(infer, checkpoint, tmp_path, capsys, monkeypatch):
    """As people start it: backend and number format are chosen, and what is exported lies beside the checkpoint."""
    weights = shutil.copy(checkpoint[0], tmp_path / "own.pt")
    scan_path = write(tmp_path / "a.nii.gz", scan(), AFFINES["RAS"])
    defaults = {"backend": "auto", "precision": "auto", **checkpoint[1], "checkpoint": str(weights)}
    infer(scan_path, tmp_path / "few", **defaults)
    assert "forward passes by torch in" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.onnx")), "exported for six slices"
    monkeypatch.setattr(runtime, "EXPORT_PAYS_SECONDS", 0.0)
    infer(scan_path, tmp_path / "auto", **defaults)
    assert f"forward passes by openvino in {best_precision('cpu')}" in capsys.readouterr().out
    (export,) = tmp_path.glob("*.onnx")
    assert re.fullmatch(r"own\.[0-9a-f]{16}\.onnx", export.name)
    infer(scan_path, tmp_path / "exact", **checkpoint[1])
    one, two = (
        np.asarray(nib.load(tmp_path / name / "a_synthetic_cect.nii.gz").dataobj).astype(int)
        for name in ("auto", "exact")
    )
    assert np.abs(one - two).mean() < 1 and np.abs(one - two).max() <= 3


@pytest.mark.slow
def test_two_processes_share_the_volumes(run_bundle, infer, checkpoint, tmp_path):
    for number in range(3):
        write(tmp_path / "in" / f"{number}.nii.gz", scan(seed=number), AFFINES["RAS"])
    launcher = ("torch.distributed.run", "--nproc_per_node", "2", "-m")
    exact = {"backend": "torch", "precision": "fp32", **checkpoint[1]}
    done = run_bundle(
        *("--config_file", CONFIG), launcher=launcher, input=tmp_path / "in", output_dir=tmp_path / "two", **exact
    )
    assert done.returncode == 0, done.stderr
    assert "2 of 3 volumes" in done.stdout and "1 of 3 volumes" in done.stdout
    infer(tmp_path / "in", tmp_path / "one", **checkpoint[1])
    names, both = (sorted(path.name for path in (tmp_path / folder).iterdir()) for folder in ("one", "two"))
    results = [name for name in names if name != "manifest.json"]
    assert sorted([*results, "manifest_1_of_2.json"]) == both and len(results) == 6  # a single volume needs none
    for name in results:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@needs_real
def test_a_real_non_contrast_scan(infer, tmp_path):
    path = Path(REAL) / "nect_abdomen" / "ct.nii.gz"
    infer(path, tmp_path)
    scan_, made = nib.load(path), nib.load(tmp_path / "ct_synthetic_cect.nii.gz")
    before, after = np.asarray(scan_.dataobj), np.asarray(made.dataobj)
    assert after.shape == before.shape and after.dtype == np.int16
    np.testing.assert_allclose(made.affine, scan_.affine, atol=1e-4)
    from scipy import ndimage

    from monai_nce.transforms import body_mask

    outside = ~ndimage.binary_dilation(body_mask(np.asarray(before, dtype=np.float32)[None])[0])
    assert outside.mean() > 0.05
    np.testing.assert_array_equal(after[outside], np.maximum(np.round(before[outside]), -1024))


@needs_real
def test_a_real_dicom_series(infer, checkpoint, tmp_path):
    infer(Path(REAL) / "cect_abdomen_dicom" / "series", tmp_path, **checkpoint[1])
    made = nib.load(tmp_path / "series_synthetic_cect.nii.gz")
    organs = nib.load(Path(REAL) / "cect_abdomen_dicom" / "organs.nii.gz")
    canonical, reference = nib.as_closest_canonical(made), nib.as_closest_canonical(organs)
    assert canonical.shape == reference.shape == (512, 512, 20)
    np.testing.assert_allclose(canonical.affine, reference.affine, atol=1e-2)
