from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from ignite.engine import Engine

from monai_nce.data import LeftOut
from monai_nce.errors import InputError
from monai_nce.handlers import InferenceManifest, inference_manifest

WEIGHTS = hashlib.sha256(b"weights").hexdigest()


def manifest(folder: Path, names: str, left_out: list[LeftOut] | None = None) -> InferenceManifest:
    (folder / "model.pt").write_bytes(b"weights")
    items = [{"image": f"{name}.nii", "output": str(folder / "out" / f"{name}_synthetic.nii.gz")} for name in names]
    return InferenceManifest(items, left_out or [], folder / "out", folder / "model.pt")


def listed(folder: Path, name: str = "manifest.json") -> dict[str, Any]:
    return {one["input"]: one for one in json.loads((folder / "out" / name).read_text())["volumes"]}


def test_each_volume_is_noted_as_soon_as_it_is_done(tmp_path: Path) -> None:
    def stop_at_the_third(engine: Engine, batch: int) -> None:
        if batch == 2:
            raise KeyboardInterrupt

    left = [LeftOut(Path("d.nii"), "every voxel is 0"), LeftOut(Path("e.nii"), "holds labels", fault=False)]
    engine = Engine(stop_at_the_third)
    manifest(tmp_path, "abc", left).attach(engine)
    with pytest.raises(KeyboardInterrupt):
        engine.run([0, 1, 2])
    volumes = listed(tmp_path)
    assert {name: one["status"] for name, one in volumes.items()} == {
        **{"a.nii": "done", "b.nii": "done", "c.nii": "pending", "d.nii": "failed", "e.nii": "skipped"}
    }
    assert volumes["a.nii"]["seconds"] >= 0 and volumes["c.nii"]["seconds"] is None
    assert volumes["a.nii"]["weights"] == {"file": str(tmp_path / "model.pt"), "sha256": WEIGHTS}
    assert volumes["d.nii"]["why"] == "every voxel is 0" and volumes["d.nii"]["weights"] is None


def test_a_volume_that_failed_is_listed_and_shows_in_the_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine, kept = (
        Engine(lambda engine, batch: {"fault": "b.nii: no such file"} if batch else {}),
        manifest(tmp_path, "ab"),
    )
    kept.attach(engine)
    engine.run([0, 1])
    failed = listed(tmp_path)["b.nii"]
    assert (failed["status"], failed["why"], failed["output"]) == ("failed", "no such file", None)
    assert failed["seconds"] is None and failed["weights"] is None
    kept.tell()
    assert kept.done == 1 and capsys.readouterr().err == "left out: b.nii: no such file\n"
    monkeypatch.setattr(inference_manifest, "is_bundle_program", lambda: True)
    with pytest.raises(SystemExit) as caught:
        kept.finish()
    assert caught.value.code == 3


def test_earlier_runs_into_the_folder_stay_listed(tmp_path: Path) -> None:
    manifest(tmp_path, "ab").tell()
    manifest(tmp_path, "bc").tell()
    assert list(listed(tmp_path)) == ["a.nii", "b.nii", "c.nii"]
    for other in ("no JSON", "[1]", '{"volumes": [1]}'):
        (tmp_path / "out" / "manifest.json").write_text(other)
        manifest(tmp_path, "ab").tell()
        assert list(listed(tmp_path)) == ["a.nii", "b.nii"]


def test_what_was_there_already_keeps_its_entry(tmp_path: Path) -> None:
    engine = Engine(lambda engine, batch: None)
    manifest(tmp_path, "ab").attach(engine)
    engine.run([0, 1])
    first = listed(tmp_path)
    kept = [LeftOut(Path(one["input"]), "its result is there already", False, one["output"]) for one in first.values()]
    manifest(tmp_path, "", kept).tell()
    assert listed(tmp_path) == first
    (tmp_path / "out" / "manifest.json").unlink()
    manifest(tmp_path, "", kept).tell()
    assert [(one["status"], one["why"]) for one in listed(tmp_path).values()] == 2 * [
        ("done", "its result is there already")
    ]


def test_one_volume_needs_none_and_each_process_has_its_own(tmp_path: Path, as_rank: Any) -> None:
    manifest(tmp_path, "a").tell()
    assert not (tmp_path / "out").exists()
    as_rank(1, 2)
    manifest(tmp_path, "ab").tell()
    assert list(listed(tmp_path, "manifest_2_of_2.json")) == ["a.nii", "b.nii"]


def test_a_fault_shows_in_the_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fault, label = LeftOut(Path("d.nii"), "every voxel is 0"), LeftOut(Path("e.nii"), "holds labels", fault=False)
    manifest(tmp_path, "a", [fault]).finish()  # in a program of another kind
    monkeypatch.setattr(inference_manifest, "is_bundle_program", lambda: True)
    manifest(tmp_path, "a", [label]).finish()
    with pytest.raises(SystemExit) as caught:
        manifest(tmp_path, "a", [label, fault]).finish()
    assert caught.value.code == 3
    manifest(tmp_path, "a", [label, fault]).tell()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["left out (no fault): e.nii: holds labels", "left out: d.nii: every voxel is 0"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match=r"manifest\.json: cannot be written"):
        manifest(tmp_path, "ab").tell()
