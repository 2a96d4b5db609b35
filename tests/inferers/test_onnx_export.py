from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from monai_nce.errors import InputError
from monai_nce.inferers import Runtime, onnx_export
from monai_nce.networks import Generator

pytestmark = pytest.mark.usefixtures("export")


def test_the_export_is_made_once_and_again_for_other_weights(generator, network, stacks, tmp_path, capsys):
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
    with torch.no_grad():
        torch.testing.assert_close(ready(stacks), network(stacks), atol=2e-5, rtol=0)


def test_other_files_beside_the_checkpoint_stay(network, stacks, tmp_path):
    others = [tmp_path / name for name in ("model.onnx", "model.mine.onnx", "auxiliary.0123456789abcdef.onnx")]
    for path in others:
        path.write_text("")
    Runtime("onnxruntime", "fp32", tmp_path / "model.pt").prepare(network, stacks)
    assert all(path.exists() for path in others)


def test_structure_counts_not_only_weights(generator, stacks, tmp_path):
    for net in (generator(), generator(residual=True)):
        ready = Runtime("onnxruntime", "fp32", tmp_path / "model.pt").prepare(net, stacks)
        with torch.no_grad():
            torch.testing.assert_close(ready(stacks), net(stacks), atol=2e-5, rtol=0)


def test_the_memory_format_does_not_count(network):
    key = onnx_export.network_key(network)
    assert onnx_export.network_key(network.to(memory_format=torch.channels_last)) == key


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


def test_other_code_makes_another_file(generator, monkeypatch, tmp_path):
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
