from __future__ import annotations

import importlib.util
import math
import time

import pytest
import torch
from torch import nn

from monai_nce.errors import InputError
from monai_nce.inferers import Backend, Runtime, SliceStackInferer, difference, onnx_export, runtime
from monai_nce.inferers.torch_backend import TorchBackend

pytestmark = pytest.mark.usefixtures("export")


@pytest.fixture(autouse=True)
def any_export_pays(monkeypatch):
    monkeypatch.setattr(runtime, "EXPORT_PAYS_SECONDS", 0.0)


HU = 150.0
NARROW = 100.0  # HU; random weights and noise make more of a short format than a trained network


def fp32(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network(x)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_each_backend_computes_what_the_network_does_for_other_sizes_too(backend, network, stacks, tmp_path):
    ready = Runtime(backend, "fp32", tmp_path / "model.pt").prepare(network, stacks)
    for shape in ((1, 3, 16, 24), (5, 3, 32, 20), (2, 3, 4, 4)):
        x = torch.rand(shape) * 2 - 1
        got = ready(x)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, fp32(network, x), atol=2e-5, rtol=0)
    assert network.training, "the network was left in eval mode"


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_bf16_is_near_and_is_really_used(backend, network, stacks, tmp_path):
    ready = Runtime(backend, "bf16", tmp_path / "model.pt", window_width=NARROW).prepare(network, stacks)
    wrong = (ready(stacks) - fp32(network, stacks)).abs()
    assert HU * wrong.mean() < 1
    if backend == "torch" or runtime.best_precision("cpu") == "bf16":  # OpenVINO emulates it where a CPU has none
        assert wrong.max() > 1e-5
    assert all(p.dtype == torch.float32 for p in network.parameters())


def test_a_network_is_made_ready_again_when_its_weights_move(generator, network, stacks):
    made = Runtime("torch", "fp32")
    ready = made.prepare(network, stacks)
    assert made.prepare(network, stacks) is ready
    other = generator(1)
    network.load_state_dict(other.state_dict())
    moved = made.prepare(network, stacks)
    assert moved is not ready
    torch.testing.assert_close(moved(stacks), fp32(other, stacks), atol=1e-6, rtol=0)
    assert not torch.allclose(ready(stacks), moved(stacks)), "the test cannot tell the two apart"


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_export_is_made_again(damage, generator, network, stacks, exports, tmp_path):
    checkpoint = tmp_path / "model.pt"
    Runtime("openvino", "fp32", checkpoint).prepare(network, stacks)
    (path,) = tmp_path.glob("*.onnx")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:  # a good file of another network
        path.write_bytes(exports[onnx_export.network_key(generator(1))].read_bytes())
    ready = Runtime("openvino", "fp32", checkpoint).prepare(network, stacks)
    torch.testing.assert_close(ready(stacks), fp32(network, stacks), atol=2e-5, rtol=0)


class Wrong:
    """A backend that adds to what the network gives."""

    workers = threads = sharing = 1

    def __init__(self, network: nn.Module, offset: float | torch.Tensor) -> None:
        self.network, self.offset = network, offset

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return fp32(self.network, x) + self.offset


def test_differences_by_hand():
    expected = torch.zeros(1, 1, 100, 100)
    got = expected.clone()
    got[0, 0, 50:52, 20:25] = -2.5  # ten pixels of ten thousand are the 99.9th percentile's last
    found = difference(expected, got)
    assert found.mean == pytest.approx(0.0025) and found.p999 == 0 and found.patch == pytest.approx(1.0)
    got[0, 0, 0, 0] = 0.5
    assert difference(expected, got).p999 == 0.5
    assert difference(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)) == (1, 1, 1)
    assert all(math.isnan(value) for value in difference(expected, got[..., :-1]))


def a_spot(stack: int, hu: float) -> torch.Tensor:
    """An error in 20 x 20 pixels of one of three stacks of 256 x 256."""
    offset = torch.zeros(3, 3, 256, 256)
    offset[stack, 1, 30:50, 200:220] = hu / HU
    return offset


@pytest.mark.parametrize(
    ("offset", "accepted"),
    [
        (0.19 / HU, True),
        (-0.19 / HU, True),
        (0.21 / HU, False),
        (float("nan"), False),
        *((a_spot(stack, -150), False) for stack in range(3)),
        (a_spot(1, 3.5), False),  # 0.002 HU on average
        (a_spot(1, 2.5), True),
    ],
)
def test_a_backend_that_computes_something_else_is_refused(offset, accepted, network, monkeypatch):
    volume = torch.rand(1, 1, 256, 256, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    monkeypatch.setattr(runtime, "OpenVinoBackend", lambda path, stacks, batch_size, precision: Wrong(network, offset))
    if accepted:
        assert isinstance(prepared("openvino", volume, network), Wrong)
    else:
        with pytest.raises(InputError, match="openvino in fp32 is off by"):
            prepared("openvino", volume, network)
        with pytest.warns(UserWarning, match="openvino in fp32 is off by .*; torch in fp32 takes over"):
            assert isinstance(prepared("auto", volume, network), TorchBackend)


def prepared(backend: str, volume: torch.Tensor, network: nn.Module) -> Backend:
    """The backend that the inferer makes ready, with the stacks that it takes from a volume."""
    made = Runtime(backend, "fp32")
    SliceStackInferer(runtime=Once(made))(volume, network)
    assert made._ready is not None
    return made._ready


class Once:
    """A runtime that makes a backend ready but gives one that does nothing, as the volume does not matter."""

    def __init__(self, made: Runtime) -> None:
        self.made = made

    def prepare(self, network: nn.Module, stacks: torch.Tensor, batch_size: int, total: int) -> Backend:
        self.made.prepare(network, stacks, batch_size, total)
        return Wrong(nn.Identity(), 0.0)


def test_the_check_sees_three_stacks_of_the_volume(network):
    seen = []

    class Looking(Once):
        def prepare(self, network: nn.Module, stacks: torch.Tensor, batch_size: int, total: int) -> Backend:
            seen.append((stacks[:, 1, 0, 0].tolist(), total))
            return Wrong(nn.Identity(), 0.0)

    for depth, stride in ((12, 1), (12, 3), (2, 1), (1, 1)):
        volume = torch.arange(depth).expand(1, 1, 4, 4, depth).float()
        SliceStackInferer(stride=stride, runtime=Looking(Runtime()))(volume, nn.Identity())
    assert seen == [([3, 6, 9], 12), ([3, 6, 9], 4), ([0, 1], 2), ([0], 1)]


def test_tolerances_are_parts_of_the_window(network, stacks, monkeypatch):
    monkeypatch.setattr(runtime, "TorchBackend", lambda net, device, precision: Wrong(net, 0.01))
    Runtime("torch", "fp32", window_width=30).prepare(network, stacks)  # 0.15 HU
    with pytest.raises(InputError, match="torch in fp32 is off by"):
        Runtime("torch", "fp32").prepare(network, stacks)  # 1.5 HU


@pytest.mark.parametrize(("fp32_too", "made"), [(False, 0), (True, 1)])
def test_a_file_is_not_made_again_for_what_only_a_short_format_gets_wrong(
    fp32_too, made, network, stacks, monkeypatch, capsys
):
    monkeypatch.setattr(
        runtime,
        "OpenVinoBackend",
        lambda path, stacks, batch_size, precision: Wrong(network, 1.0 if fp32_too or precision == "bf16" else 0.0),
    )
    for exported in (1, made):  # a new file is not made twice in any case
        with pytest.raises(InputError, match="openvino in bf16 is off by"):
            Runtime("openvino", "bf16").prepare(network, stacks)
        assert capsys.readouterr().out.count("exporting") == exported


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_a_scan_gives_the_same_whichever_scan_came_before(backend, network, stacks, tmp_path):
    others = torch.full_like(stacks, -1.0)
    first, second = (
        Runtime(backend, "bf16", tmp_path / name / "model.pt", window_width=NARROW).prepare(network, seen)(stacks)
        for name, seen in (("one", stacks), ("two", others))
    )
    assert torch.equal(first, second)


def test_auto_takes_pytorch_where_openvino_computes_something_else(network, stacks, monkeypatch):
    monkeypatch.setattr(runtime, "OpenVinoBackend", lambda *settings: Wrong(network, 1.0))
    with pytest.warns(UserWarning, match="openvino.* is off by .*torch in .* takes over"):
        ready = Runtime().prepare(network, stacks)
    assert (ready(stacks) - fp32(network, stacks)).abs().mean() < 1 / HU


class LooksAtItsInput(nn.Module):
    """Which way it goes depends on values, which an exporter does not know."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 2 if x.mean() > 0 else x


def test_auto_takes_pytorch_for_a_network_that_cannot_be_exported(stacks, tmp_path):
    network, checkpoint = LooksAtItsInput(), tmp_path / "model.pt"
    with pytest.warns(UserWarning, match="LooksAtItsInput cannot be exported to ONNX: .*; torch in fp32 takes over"):
        ready = Runtime("auto", "fp32", checkpoint).prepare(network, stacks)
    assert isinstance(ready, TorchBackend)
    with pytest.raises(InputError, match="LooksAtItsInput cannot be exported to ONNX"):
        Runtime("openvino", "fp32", checkpoint).prepare(network, stacks)
    assert not list(tmp_path.iterdir())


def test_auto_takes_what_is_installed(network, stacks, monkeypatch, capsys):
    Runtime(precision="fp32").prepare(network, stacks)
    assert "by openvino in fp32" in capsys.readouterr().out
    find_spec = importlib.util.find_spec
    for missing in ("openvino", "onnx", "onnxscript"):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, missing=missing: None if name == missing else find_spec(name)
        )
        Runtime(precision="fp32").prepare(network, stacks)
        assert "by torch in fp32" in capsys.readouterr().out
        with pytest.raises(InputError, match="openvino is not installed: pip install openvino onnx onnxscript"):
            Runtime("openvino").prepare(network, stacks)


@pytest.mark.parametrize(
    ("backend", "precision", "message"),
    [
        ("tensorrt", "auto", "backend: expected auto, torch, openvino but got 'tensorrt'"),
        ("torch", "int8", "precision: expected auto, fp32, bf16, fp16 but got 'int8'"),
        ("openvino", "fp16", "precision: expected fp32, bf16 on cpu but got 'fp16'"),
        ("torch", "fp16", "precision: expected fp32, bf16 on cpu but got 'fp16'"),
    ],
)
def test_what_cannot_be_is_refused(backend, precision, message, network, stacks):
    with pytest.raises(InputError, match=message):
        Runtime(backend, precision).prepare(network, stacks)


def test_cpu_backends_are_refused_for_a_network_elsewhere(network, stacks):
    with pytest.raises(InputError, match="openvino runs on a CPU here but the device is meta"):
        Runtime("openvino").prepare(network.to("meta"), stacks.to("meta"))


@pytest.mark.parametrize("best", ["bf16", "fp32"])
def test_pytorch_takes_the_fastest_number_format(best, network, stacks, monkeypatch, capsys):
    monkeypatch.setattr(runtime, "best_precision", lambda device: best)
    chosen = Runtime("torch", window_width=NARROW)
    assert str(chosen) == ""
    chosen.prepare(network, stacks)
    assert f"forward passes by {chosen}" in capsys.readouterr().out
    assert str(chosen) == f"torch in {best}"


def test_auto_falls_back_to_pytorch_in_bf16_and_then_in_fp32(network, stacks, monkeypatch, capsys):
    monkeypatch.setattr(runtime, "best_precision", lambda device: "bf16")
    monkeypatch.setattr(runtime, "OpenVinoBackend", lambda path, stacks, batch_size, precision: Wrong(network, 1.0))
    monkeypatch.setattr(
        runtime, "TorchBackend", lambda net, device, precision: Wrong(net, 0.0 if precision == "fp32" else 1.0)
    )
    with (
        pytest.warns(UserWarning, match="openvino in bf16 is off by .*; torch in bf16 takes over"),
        pytest.warns(UserWarning, match="torch in bf16 is off by .*; torch in fp32 takes over"),
    ):
        Runtime().prepare(network, stacks)
    assert "by torch in fp32" in capsys.readouterr().out
    with pytest.raises(InputError, match="torch in bf16 is off by"):
        Runtime("torch", "bf16").prepare(network, stacks)


@pytest.mark.parametrize(("volumes", "total", "taken"), [(1, 5, "torch"), (2, 50, "openvino"), (25, 4, "openvino")])
def test_auto_exports_only_where_the_work_repays_it(
    volumes, total, taken, network, stacks, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(runtime, "EXPORT_PAYS_SECONDS", 60.0)
    monkeypatch.setattr(Runtime, "_torch_seconds", lambda self, network, stacks, precision: 1.0)
    made = Runtime(precision="fp32", checkpoint=tmp_path / "model.pt", volumes=volumes)
    assert made.first_choice(network, stacks, total) == (taken, "fp32", taken == "torch")
    made.prepare(network, stacks, 8, total)
    assert made.first_choice(network, stacks, total) == (taken, "fp32", True)
    assert f"by {taken} in fp32" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.onnx"))) == (taken == "openvino")
    Runtime("openvino", "fp32", tmp_path / "model.pt").prepare(network, stacks)  # exports in any case
    capsys.readouterr()
    Runtime(precision="fp32", checkpoint=tmp_path / "model.pt").prepare(network, stacks, 8, 1)
    assert "by openvino in fp32" in capsys.readouterr().out, "the export is there"


def test_the_time_of_a_stack_is_measured_once_warm(network, stacks, monkeypatch):
    class Slow(Wrong):
        calls = 0

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            time.sleep(0.3 if self.calls else 1.0)
            self.calls += 1
            return super().__call__(x)

    monkeypatch.setattr(runtime, "TorchBackend", lambda net, device, precision: Slow(net, 0.0))
    assert 0.1 <= Runtime._torch_seconds(network, stacks, "fp32") < 0.3


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_volume_is_the_same_however_many_passes_run_at_once(threads, network, tmp_path):
    volume = torch.rand(1, 1, 18, 21, 7) * 2 - 1
    with torch.no_grad():
        expected = SliceStackInferer(batch_size=2)(volume, network)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for backend in ("torch", "openvino"):
            inferer = SliceStackInferer(batch_size=2, runtime=Runtime(backend, "fp32", tmp_path / "model.pt"))
            torch.testing.assert_close(inferer(volume, network), expected, atol=2e-5, rtol=0)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_a_failure_in_a_pass_reaches_the_caller(network, stacks, monkeypatch):
    class Failing(Wrong):
        workers = 3

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) == 2:
                raise RuntimeError("out of memory")
            return super().__call__(x)

    monkeypatch.setattr(runtime, "TorchBackend", lambda net, device, precision: Failing(net, 0.0))
    with pytest.raises(RuntimeError, match="out of memory"):
        SliceStackInferer(batch_size=2, runtime=Runtime("torch", "fp32"))(torch.zeros(1, 1, 8, 8, 9), network)
