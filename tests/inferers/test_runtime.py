from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

from monai_nce.errors import InputError
from monai_nce.inferers import Runtime, SliceStackInferer, onnx_export, runtime
from monai_nce.inferers.slice_stack_inferer import run_batches
from monai_nce.inferers.torch_backend import TorchBackend
from monai_nce.networks import Generator

HU = 150.0


def generator(seed: int = 0, residual: bool = False) -> Generator:
    """With the same weights, residual or not."""
    torch.manual_seed(seed)
    made = [Generator(channels=(16, 8), hidden_channels=8, num_groups=4, residual=value) for value in (False, residual)]
    made[1].load_state_dict(made[0].state_dict())
    return made[1]


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Real ONNX files by the key of their network: exporting takes seconds, so that each is made once."""
    made = {}
    for network in (generator(0), generator(1), generator(0, residual=True)):
        path = tmp_path_factory.mktemp("export") / "network.onnx"
        onnx_export._export(onnx_export.rearranged(network), torch.rand(1, 3, 16, 24), path)
        made[onnx_export.network_key(network)] = path
    return made


@pytest.fixture(autouse=True)
def export(exports, tmp_path, monkeypatch) -> None:
    """Exporting takes the file made before, and never touches the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        onnx_export, "_export", lambda ready, stacks, path: shutil.copy(exports[path.name.split(".")[1]], path)
    )


@pytest.fixture
def network() -> Generator:
    return generator()


@pytest.fixture
def stacks() -> torch.Tensor:
    return torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1


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


def test_the_export_is_made_once_and_again_for_other_weights(network, stacks, tmp_path, capsys):
    checkpoint = tmp_path / "model.pt"

    def files() -> list[Path]:
        return sorted(tmp_path.glob("*.onnx"))

    Runtime("onnxruntime", "fp32", checkpoint).prepare(network, stacks)
    (first,) = files()
    written = first.stat().st_mtime_ns
    Runtime("openvino", "fp32", checkpoint).prepare(network, stacks)
    assert files() == [first] and first.stat().st_mtime_ns == written
    assert capsys.readouterr().out.count("exporting") == 1
    network.load_state_dict(generator(1).state_dict())
    ready = Runtime("onnxruntime", "fp32", checkpoint).prepare(network, stacks)
    (second,) = files()
    assert second != first, "the stale export is still there, or in use"
    torch.testing.assert_close(ready(stacks), fp32(network, stacks), atol=2e-5, rtol=0)


def test_other_files_beside_the_checkpoint_stay(network, stacks, tmp_path):
    others = [tmp_path / name for name in ("model.onnx", "model.mine.onnx", "auxiliary.0123456789abcdef.onnx")]
    for path in others:
        path.write_text("")
    Runtime("onnxruntime", "fp32", tmp_path / "model.pt").prepare(network, stacks)
    assert all(path.exists() for path in others)


def test_structure_counts_not_only_weights(stacks, tmp_path):
    for net in (generator(), generator(residual=True)):
        ready = Runtime("onnxruntime", "fp32", tmp_path / "model.pt").prepare(net, stacks)
        torch.testing.assert_close(ready(stacks), fp32(net, stacks), atol=2e-5, rtol=0)


def test_the_memory_format_does_not_count(network):
    key = onnx_export.network_key(network)
    assert onnx_export.network_key(network.to(memory_format=torch.channels_last)) == key


def test_a_network_is_made_ready_again_when_its_weights_move(network, stacks):
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
def test_a_damaged_export_is_made_again(damage, network, stacks, exports, tmp_path):
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

    workers = threads = 1

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
    with pytest.warns(UserWarning, match="openvino.* is off by .*PyTorch takes over"):
        ready = Runtime().prepare(network, stacks)
    assert (ready(stacks) - fp32(network, stacks)).abs().mean() < 1 / HU


class LooksAtItsInput(nn.Module):
    """Which way it goes depends on values, which an exporter does not know."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 2 if x.mean() > 0 else x


def test_auto_takes_pytorch_for_a_network_that_cannot_be_exported(stacks, tmp_path):
    network, checkpoint = LooksAtItsInput(), tmp_path / "model.pt"
    with pytest.warns(UserWarning, match="LooksAtItsInput cannot be exported to ONNX: .*; PyTorch takes over"):
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
        ("torch", "int8", "precision: expected auto, fp32, bf16, fp16 but got 'int8'"),
        ("onnxruntime", "bf16", "precision: expected fp32 with onnxruntime on cpu but got 'bf16'"),
        ("torch", "fp16", "precision: expected fp32, bf16 with torch on cpu but got 'fp16'"),
    ],
)
def test_what_cannot_be_is_refused(backend, precision, message, network, stacks):
    with pytest.raises(InputError, match=message):
        Runtime(backend, precision).prepare(network, stacks)


def test_cpu_backends_are_refused_for_a_network_elsewhere(network, stacks):
    with pytest.raises(InputError, match="openvino runs on a CPU here but the device is meta"):
        Runtime("openvino").prepare(network.to("meta"), stacks.to("meta"))


def test_without_a_folder_to_write_to_the_users_cache_is_taken(network, stacks, tmp_path):
    Runtime("onnxruntime", "fp32", tmp_path / "nowhere" / "model.pt").prepare(network, stacks)
    Runtime("onnxruntime", "fp32").prepare(network, stacks)
    names = sorted(path.name.split(".")[0] for path in (tmp_path / "cache" / "monai-nce").iterdir())
    assert names == ["model", "network"]
    assert not (tmp_path / "nowhere").exists()


def test_the_users_cache_keeps_the_newest(network, stacks, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "MOST_CACHED", 3)
    cache = tmp_path / "cache" / "monai-nce"
    cache.mkdir(parents=True)
    for age in range(5):
        path = cache / f"model.{age:016x}.onnx"
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    path = onnx_export.exported_network(network, stacks)
    assert set(cache.iterdir()) == {path, *(cache / f"model.{age:016x}.onnx" for age in range(2))}


def test_without_a_home_it_is_said_in_one_line(network, stacks, monkeypatch):
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(InputError, match="Generator cannot be exported to ONNX: Could not determine home directory"):
        onnx_export.exported_network(network, stacks)


def test_of_several_that_need_a_file_one_makes_it(network, stacks, tmp_path, capsys):
    with ThreadPoolExecutor(3) as pool:
        paths = list(pool.map(lambda _: onnx_export.exported_network(network, stacks, tmp_path / "model.pt"), range(3)))
    assert len(set(paths)) == 1 and list(tmp_path.iterdir()) == paths[:1]
    assert capsys.readouterr().out.count("exporting") == 1


def test_other_code_makes_another_file(monkeypatch, tmp_path):
    key = onnx_export.network_key(generator())
    assert onnx_export.network_key(generator()) == key
    module = sys.modules[Generator.__module__]
    copied = Path(shutil.copytree(Path(str(module.__file__)).parent, tmp_path / "networks"))
    for name in ("generator", "spade"):  # where the modules of a Generator are from
        monkeypatch.setattr(sys.modules[f"monai_nce.networks.{name}"], "__file__", str(copied / f"{name}.py"))
    assert onnx_export.network_key(generator()) == key  # the same code elsewhere
    with open(copied / "inference_generator.py", "a") as changed:  # what is exported
        changed.write("\n")
    assert onnx_export.network_key(generator()) != key


def test_a_full_disk_is_said_in_one_line(network, stacks, tmp_path, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("monai_nce.inferers.onnx_export._export", full)
    with pytest.raises(InputError, match="model.*onnx: cannot be written: No space left on device"):
        Runtime("onnxruntime", "fp32", tmp_path / "model.pt").prepare(network, stacks)
    assert list(tmp_path.iterdir()) == []


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


def test_a_network_that_cannot_rearrange_itself_runs_in_bf16_as_a_whole(stacks):
    seen = []

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.dtype)
            return self.conv(x)

    ready = Runtime("torch", "bf16").prepare(Plain(), stacks)
    assert ready(stacks).dtype == torch.float32
    assert seen[-1] == torch.bfloat16


def test_workers_have_the_threads_that_the_backend_asks_for():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        seen = list(run_batches(lambda batch: torch.tensor(torch.get_num_threads()), range(6), workers=2, threads=2))
        assert seen == [2] * 6
        assert torch.get_num_threads() == 4
        running = run_batches(lambda batch: torch.zeros(1), range(6), workers=2)
        next(running)
        assert torch.get_num_threads() == 1, "the caller's threads would spin beside the workers"
        running.close()
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
