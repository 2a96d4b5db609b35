from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_nce.errors import InputError
from monai_nce.inferers import Runtime, SliceStackInferer, onnx_export, runtime
from monai_nce.inferers.torch_backend import TorchBackend

pytestmark = pytest.mark.usefixtures("export")

HU = 150.0


def fp32(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network(x)


@pytest.mark.parametrize("backend", ["torch", "onnxruntime", "openvino"])
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
    ready = Runtime(backend, "bf16", tmp_path / "model.pt").prepare(network, stacks)
    wrong = (ready(stacks) - fp32(network, stacks)).abs()
    assert HU * wrong.mean() < 1
    if backend == "torch" or runtime.best_precision("cpu") == "bf16":  # OpenVINO emulates it where a CPU has none
        assert wrong.max() > 1e-5
    assert all(p.dtype == torch.float32 for p in network.parameters())


def test_a_network_is_made_ready_again_when_its_weights_move(generator, network, stacks):
    prepared = Runtime("torch", "fp32")
    ready = prepared.prepare(network, stacks)
    assert prepared.prepare(network, stacks) is ready
    network.load_state_dict(generator().state_dict())
    assert prepared.prepare(network, stacks) is ready, "the same weights were loaded again"
    other = generator(1)
    network.load_state_dict(other.state_dict())
    moved = prepared.prepare(network, stacks)
    assert moved is not ready
    torch.testing.assert_close(moved(stacks), fp32(other, stacks), atol=1e-6, rtol=0)
    assert not torch.allclose(ready(stacks), moved(stacks)), "the test cannot tell the two apart"


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_export_is_made_again(damage, generator, network, stacks, exports, tmp_path):
    checkpoint = tmp_path / "model.pt"
    Runtime("onnxruntime", "fp32", checkpoint).prepare(network, stacks)
    (path,) = tmp_path.glob("*.onnx")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:  # a good file of another network
        path.write_bytes(exports[onnx_export.network_key(generator(1))].read_bytes())
    ready = Runtime("onnxruntime", "fp32", checkpoint).prepare(network, stacks)
    torch.testing.assert_close(ready(stacks), fp32(network, stacks), atol=2e-5, rtol=0)


class Wrong:
    """A backend that adds to what the network gives."""

    workers = threads = sharing = 1

    def __init__(self, network: nn.Module, offset: float) -> None:
        self.network, self.offset = network, offset

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return fp32(self.network, x) + self.offset


@pytest.mark.parametrize(("offset_hu", "accepted"), [(0.9, True), (-0.9, True), (1.1, False), (float("nan"), False)])
def test_a_backend_off_by_more_than_one_hu_is_refused(offset_hu, accepted, network, stacks, monkeypatch):
    monkeypatch.setattr(runtime, "OnnxRuntimeBackend", lambda path: Wrong(network, offset_hu / HU))
    if accepted:
        Runtime("onnxruntime", "fp32").prepare(network, stacks)
    else:
        with pytest.raises(InputError, match="onnxruntime in fp32 is off by"):
            Runtime("onnxruntime", "fp32").prepare(network, stacks)


@pytest.mark.parametrize(("fp32_too", "files"), [(False, 1), (True, 2)])
def test_a_file_is_not_made_again_for_what_only_a_short_format_gets_wrong(
    fp32_too, files, network, stacks, monkeypatch, capsys
):
    monkeypatch.setattr(
        runtime,
        "OpenVinoBackend",
        lambda path, stacks, batch_size, precision: Wrong(network, 1.0 if fp32_too or precision == "bf16" else 0.0),
    )
    with pytest.raises(InputError, match="openvino in bf16 is off by"):
        Runtime("openvino", "bf16").prepare(network, stacks)
    assert capsys.readouterr().out.count("exporting") == files


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_a_scan_gives_the_same_whichever_scan_came_before(backend, network, stacks, tmp_path):
    others = torch.full_like(stacks, -1.0)
    first, second = (
        Runtime(backend, "bf16", tmp_path / name / "model.pt").prepare(network, seen)(stacks)
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
    for missing in ("openvino", "onnx", "onnxscript"):
        monkeypatch.setattr(runtime, "_installed", lambda *modules, missing=missing: missing not in modules)
        Runtime(precision="fp32").prepare(network, stacks)
        assert "by torch in fp32" in capsys.readouterr().out
        with pytest.raises(InputError, match=r"openvino is not installed: pip install 'monai-nce\[openvino\]'"):
            Runtime("openvino").prepare(network, stacks)


@pytest.mark.parametrize(
    ("backend", "precision", "message"),
    [
        ("tensorrt", "auto", "backend: expected auto, torch, onnxruntime, openvino but got 'tensorrt'"),
        ("torch", "int4", "precision: expected auto, fp32, bf16, fp16, int8 but got 'int4'"),
        ("openvino", "int8", "precision: expected fp32, bf16 with openvino on cpu but got 'int8'"),
        ("onnxruntime", "bf16", "precision: expected fp32 with onnxruntime on cpu but got 'bf16'"),
        ("torch", "fp16", "precision: expected fp32, bf16 with torch on cpu but got 'fp16'"),
        ("torch", "int8", "precision: expected fp32, bf16 with torch on cpu but got 'int8'"),
    ],
)
def test_what_cannot_be_is_refused(backend, precision, message, network, stacks, monkeypatch):
    monkeypatch.setattr(runtime, "can_use_eight_bits", lambda network, device: False)
    with pytest.raises(InputError, match=message):
        Runtime(backend, precision).prepare(network, stacks)


def test_cpu_backends_are_refused_for_a_network_elsewhere(network, stacks):
    with pytest.raises(InputError, match="openvino runs on a CPU here but the device is meta"):
        Runtime("openvino").prepare(network.to("meta"), stacks.to("meta"))


@pytest.mark.parametrize(
    ("fit", "best", "taken"), [(True, "bf16", "int8"), (False, "bf16", "bf16"), (False, "fp32", "fp32")]
)
def test_pytorch_takes_the_fastest_number_format(fit, best, taken, network, stacks, monkeypatch, capsys):
    monkeypatch.setattr(runtime, "gains_from_eight_bits", lambda network, device: fit)
    monkeypatch.setattr(runtime, "best_precision", lambda device: best)
    Runtime("torch").prepare(network, stacks)
    assert f"forward passes by torch in {taken}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("gains", "many", "expected"),
    [
        (True, 64, ["torch int8", "openvino bf16", "torch bf16", "torch fp32"]),
        (True, 10**6, ["openvino bf16", "torch int8", "torch bf16", "torch fp32"]),
        (True, 16 * 16 * 9 + 1, ["openvino bf16", "torch int8", "torch bf16", "torch fp32"]),  # more than any layer's
        (False, 64, ["openvino bf16", "torch bf16", "torch fp32"]),
    ],
)
def test_auto_tries_eight_bits_before_openvino_for_large_networks(gains, many, expected, network, stacks, monkeypatch):
    monkeypatch.setattr(runtime, "gains_from_eight_bits", lambda network, device: gains)
    monkeypatch.setattr(runtime, "best_precision", lambda device: "bf16")
    monkeypatch.setattr(runtime, "MANY_WEIGHTS", many)
    assert [" ".join(choice) for choice in Runtime()._choices(network, stacks.device)] == expected


def test_auto_takes_the_next_number_format_where_the_fastest_computes_something_else(
    network, stacks, monkeypatch, capsys
):
    for name in ("can_use_eight_bits", "gains_from_eight_bits"):
        monkeypatch.setattr(runtime, name, lambda network, device: True)
    monkeypatch.setattr(runtime, "best_precision", lambda device: "bf16")
    monkeypatch.setattr(
        runtime, "TorchBackend", lambda net, device, precision: Wrong(net, 0.0 if precision == "fp32" else 1.0)
    )
    with (
        pytest.warns(UserWarning, match="torch in int8 is off by .*; torch in bf16 takes over"),
        pytest.warns(UserWarning, match="torch in bf16 is off by .*; torch in fp32 takes over"),
    ):
        Runtime("torch").prepare(network, stacks)
    assert "by torch in fp32" in capsys.readouterr().out
    with pytest.raises(InputError, match="torch in int8 is off by"):
        Runtime(precision="int8").prepare(network, stacks)  # what OpenVINO has no part in


def test_auto_takes_the_next_number_format_where_the_operations_on_bytes_fail(network, stacks, monkeypatch, capsys):
    for name in ("can_use_eight_bits", "gains_from_eight_bits"):
        monkeypatch.setattr(runtime, name, lambda network, device: True)
    monkeypatch.setattr(runtime, "best_precision", lambda device: "fp32")

    def failing(net, device, precision):
        if precision == "int8":
            raise RuntimeError("could not create a primitive descriptor")
        return Wrong(net, 0.0)

    monkeypatch.setattr(runtime, "TorchBackend", failing)
    with pytest.warns(UserWarning, match="torch in int8 cannot run it: could not create.*; torch in fp32 takes over"):
        Runtime("torch").prepare(network, stacks)
    assert "by torch in fp32" in capsys.readouterr().out


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_volume_is_the_same_however_many_passes_run_at_once(threads, network, tmp_path):
    volume = torch.rand(1, 1, 18, 21, 7) * 2 - 1
    with torch.no_grad():
        expected = SliceStackInferer(batch_size=2)(volume, network)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for backend in ("torch", "onnxruntime", "openvino"):
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
