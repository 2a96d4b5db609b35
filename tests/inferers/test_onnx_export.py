from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from monai_nce.errors import InputError
from monai_nce.inferers import Runtime, onnx_export
from monai_nce.inferers.onnx_export import export_network, export_path

pytestmark = pytest.mark.usefixtures("export")


def test_the_export_is_made_once_and_again_for_other_weights(generator, network, stacks, tmp_path, capsys):
    checkpoint = tmp_path / "model.pt"

    def files() -> list[Path]:
        return sorted(tmp_path.glob("*.onnx"))

    Runtime("openvino", "fp32", checkpoint).prepare(network, stacks)
    (first,) = files()
    written = first.stat().st_mtime_ns
    Runtime("auto", "fp32", checkpoint).prepare(network, stacks)
    assert files() == [first] and first.stat().st_mtime_ns == written
    assert capsys.readouterr().out.count("exporting") == 1
    network.load_state_dict(generator(1).state_dict())
    ready = Runtime("openvino", "fp32", checkpoint).prepare(network, stacks)
    (second,) = files()
    assert second != first, "the stale export is still there, or in use"
    with torch.no_grad():
        torch.testing.assert_close(ready(stacks), network(stacks), atol=2e-5, rtol=0)


def test_other_files_beside_the_checkpoint_stay(network, stacks, tmp_path):
    others = [tmp_path / name for name in ("model.onnx", "model.mine.onnx", "auxiliary.0123456789abcdef.onnx")]
    for path in others:
        path.write_text("")
    Runtime("openvino", "fp32", tmp_path / "model.pt").prepare(network, stacks)
    assert all(path.exists() for path in others)


def test_structure_counts_not_only_weights(generator, stacks, tmp_path):
    for net in (generator(), generator(residual=True)):
        ready = Runtime("openvino", "fp32", tmp_path / "model.pt").prepare(net, stacks)
        with torch.no_grad():
            torch.testing.assert_close(ready(stacks), net(stacks), atol=2e-5, rtol=0)


def test_neither_the_memory_format_nor_the_mode_counts(network):
    key = onnx_export.network_key(network)
    assert onnx_export.network_key(network.to(memory_format=torch.channels_last).eval()) == key


def test_without_a_folder_to_write_to_the_users_cache_is_taken(network, stacks, tmp_path):
    Runtime("openvino", "fp32", tmp_path / "nowhere" / "model.pt").prepare(network, stacks)
    Runtime("openvino", "fp32").prepare(network, stacks)
    names = sorted(path.name.split(".")[0] for path in (tmp_path / "cache" / "monai-nce").iterdir())
    assert names == ["model", "network"]
    assert not (tmp_path / "nowhere").exists()


def made(network, stacks, checkpoint: Path | None = None) -> Path:
    path = export_path(network, checkpoint)
    export_network(network, stacks, path)
    assert export_path(network, checkpoint) == path and path.is_file()
    return path


def test_a_new_export_replaces_an_old_one_in_the_users_cache(network, stacks, tmp_path):
    cache = tmp_path / "cache" / "monai-nce"
    cache.mkdir(parents=True)
    for name in ("network.0123456789abcdef.onnx", "other.0123456789abcdef.onnx"):
        (cache / name).touch()
    path = made(network, stacks)
    assert set(cache.iterdir()) == {path, cache / "other.0123456789abcdef.onnx"}


def test_a_read_only_folder(network, stacks, tmp_path, monkeypatch, capsys):
    path = made(network, stacks, tmp_path / "model.pt")
    monkeypatch.setattr(os, "access", lambda folder, mode: Path(folder).parent.name == "cache")
    assert made(network, stacks, tmp_path / "model.pt") == path, "what is there already can be read"
    path.unlink()
    assert made(network, stacks, tmp_path / "model.pt").parent == tmp_path / "cache" / "monai-nce"
    assert capsys.readouterr().out.count("exporting") == 2


def test_a_name_with_dots_and_brackets(generator, network, stacks, tmp_path):
    old = made(network, stacks, tmp_path / "model.v[2].pt")
    network.load_state_dict(generator(1).state_dict())
    new = made(network, stacks, tmp_path / "model.v[2].pt")
    assert list(tmp_path.iterdir()) == [new] and new != old


def test_of_several_that_need_a_file_one_makes_it(network, stacks, tmp_path, capsys):
    path = export_path(network, tmp_path / "model.pt")
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: export_network(network, stacks, path), range(3)))
    assert list(tmp_path.iterdir()) == [path]
    assert capsys.readouterr().out.count("exporting") == 1


def test_a_full_disk_is_said_in_one_line(network, stacks, tmp_path, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("monai_nce.inferers.onnx_export._export", full)
    with pytest.raises(InputError, match="model.*onnx: cannot be written: No space left on device"):
        Runtime("openvino", "fp32", tmp_path / "model.pt").prepare(network, stacks)
    assert list(tmp_path.iterdir()) == []
