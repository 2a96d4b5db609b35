from __future__ import annotations

import json
import os
import pickle
import stat
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from monai_nce.cli.weights_archive import check_name, export_weights, import_weights
from monai_nce.errors import InputError
from monai_nce.handlers import TrainedFor
from monai_nce.handlers.weights.state_file import write_torch
from monai_nce.weights_store import VARIABLE, find_weights, named_weights

DATA = [{"name": "our CT", "kind": "real", "patients": 3, "scans": 6, "licence": "CC BY 4.0"}]
MADE_FOR = TrainedFor("NECT", "CECT", 50, 300, 2.0, 3, data=DATA)
QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def save(path: Path, said: TrainedFor = MADE_FOR, value: float = 0.5) -> Path:
    network = nn.Conv2d(3, 3, 1)
    nn.init.constant_(network.weight, value)
    weights: Any = network.state_dict()
    said.write_to(weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_torch(weights, path)
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An archive of a training with both networks and figures."""
    run = tmp_path_factory.mktemp("work") / "our run"
    network = save(run / "models" / "model.pt")
    save(run / "models" / "auxiliary.pt", MADE_FOR.reversed())
    value = {"mean": 0.1, "patient_mean": 0.2, "low": 0.0, "high": 1.0, "per_patient": {"MEIER^ANNA": 0.2}}
    about = {"checkpoint_sha256": sha256(network.read_bytes()).hexdigest(), "patients": 1, "data": "our CT"}
    report = {"about": {**about, "data_made_from": {"patient": "MEIER^ANNA"}}, "separate": {"mse": value}}
    (run / "metrics.json").write_text(json.dumps(report))
    assert export_weights(str(run), run / "a.zip") == "our_run"
    return (run / "a.zip").read_bytes()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "store"))
    return tmp_path / "store"


def contents(archive: bytes | Path) -> dict[str, bytes]:
    import io

    with zipfile.ZipFile(io.BytesIO(archive) if isinstance(archive, bytes) else archive) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


def packed(path: Path, files: dict[str, bytes], rehash: bool = True, method: int = zipfile.ZIP_STORED) -> Path:
    """Write files as an archive, with the hashes that they have."""
    if rehash:
        manifest = json.loads(files["manifest.json"])
        manifest["files"] = {name: sha256(files[name]).hexdigest() for name in files if name != "manifest.json"}
        files = {**files, "manifest.json": json.dumps(manifest).encode()}
    with zipfile.ZipFile(path, "w", method) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return path


def refused(archive: Path, store: Path) -> str:
    """Import, expect an InputError of one line, and nothing written anywhere."""
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(InputError) as error:
        import_weights(archive)
    assert sorted(archive.parent.rglob("*")) == before and not store.exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_exported_comes_back(good: bytes, store: Path, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(good)
    folder = import_weights(tmp_path / "a.zip")
    assert folder == store / "our_run" and find_weights("our_run") == folder / "model.pt"
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == contents(good)
    assert (folder / "data_license.txt").read_text() == "our CT: CC BY 4.0\n"
    assert "Research use only" in (folder / "README.md").read_text()
    assert "SHA-256" in (folder / "README.md").read_text()
    export_weights("our_run", tmp_path / "b.zip")
    assert (tmp_path / "b.zip").read_bytes() == good


def test_no_single_patient_is_exported(good: bytes) -> None:
    assert not any(b"MEIER" in content for content in contents(good).values())
    assert json.loads(contents(good)["metrics.json"])["separate"]["mse"]["patient_mean"] == 0.2


def test_figures_of_other_weights_stay_behind(tmp_path: Path) -> None:
    save(tmp_path / "models" / "model.pt")
    (tmp_path / "metrics.json").write_text(json.dumps({"about": {"checkpoint_sha256": "0"}, "a": {"mse": {"mean": 1}}}))
    export_weights(str(tmp_path), tmp_path / "a.zip")
    assert "metrics.json" not in contents(tmp_path / "a.zip")


def test_an_auxiliary_network_for_something_else_stays_behind(tmp_path: Path) -> None:
    save(tmp_path / "model.pt")
    save(tmp_path / "auxiliary.pt", TrainedFor("CECT", "NECT", 40, 400, 2.0, 3))
    export_weights(str(tmp_path), tmp_path / "a.zip")
    assert "auxiliary.pt" not in contents(tmp_path / "a.zip")


def test_a_licence_is_needed_and_may_be_a_file(tmp_path: Path) -> None:
    network = save(tmp_path / "model.pt", TrainedFor("NECT", "CECT", 50, 300))
    with pytest.raises(InputError, match="give --licence"):
        export_weights(str(network), tmp_path / "a.zip")
    (tmp_path / "terms.txt").write_text("Ours alone.")
    for licence in ("Ours alone.", str(tmp_path / "terms.txt")):
        export_weights(str(network), tmp_path / "a.zip", licence=licence, overwrite=True)
        assert contents(tmp_path / "a.zip")["data_license.txt"] == b"Ours alone.\n"
    with pytest.raises(InputError, match="exists already"):
        export_weights(str(network), tmp_path / "a.zip", licence="Ours alone.")


def test_the_shipped_weights_are_exported_with_card_licence_and_figures(tmp_path: Path, store: Path) -> None:
    export_weights("default", tmp_path / "a.zip")
    found = contents(tmp_path / "a.zip")
    assert {"model.pt", "auxiliary.pt", "metrics.json"} < set(found)
    assert b"Intended use" in found["README.md"] and b"SPL" in found["data_license.txt"]


def test_no_weights_are_replaced_unasked(good: bytes, store: Path, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(good)
    folder = import_weights(tmp_path / "a.zip")
    (folder / "mine.onnx").touch()
    with pytest.raises(InputError, match="has weights of this name"):
        import_weights(tmp_path / "a.zip")
    assert (folder / "mine.onnx").exists()
    import_weights(tmp_path / "a.zip", overwrite=True)
    assert not (folder / "mine.onnx").exists()
    import_weights(tmp_path / "a.zip", name="another")
    assert list(named_weights()) == ["default", "another", "our_run"]


@pytest.mark.parametrize(
    "name", ["default", "Default", "..", ".a", "a/b", "a\\b", "", "a" * 65, "a.", "ä", "a\n", "-a"]
)
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(InputError, match="--name"):
        check_name(name)


def test_the_archive_s_own_name_is_checked(good: bytes, store: Path, tmp_path: Path) -> None:
    files = contents(good)
    files["manifest.json"] = json.dumps({**json.loads(files["manifest.json"]), "name": "../../a"}).encode()
    assert "--name" in refused(packed(tmp_path / "a.zip", files), store)


@QUICK
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_a_changed_byte_is_found_or_changes_nothing(
    place: float, change: int, good: bytes, store: Path, tmp_path: Path
) -> None:
    damaged = bytearray(good)
    damaged[int(place * len(good))] ^= change
    (tmp_path / "a.zip").write_bytes(damaged)
    try:
        folder = import_weights(tmp_path / "a.zip", overwrite=True)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        found = {file.name: file.read_bytes() for file in folder.iterdir()}
        assert {**found, "manifest.json": b""} == {**contents(good), "manifest.json": b""}


@QUICK
@given(length=st.floats(0, 1, exclude_max=True))
def test_an_archive_that_was_cut_is_refused(length: float, good: bytes, store: Path, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(good[: int(length * len(good))])
    refused(tmp_path / "a.zip", store)


PARTS = st.sampled_from(["..", ".", "", "a", "model.pt", "C:", "~", "/", "con", "\x1b[2J", "x.exe", "models"])


@QUICK
@given(
    name=st.one_of(st.lists(PARTS, min_size=1, max_size=4).map("/".join), st.text(min_size=1, max_size=20)).filter(
        lambda name: name and "\0" not in name and name not in ("model.pt", "README.md")
    )
)
def test_a_file_of_any_other_name_is_refused(name: str, good: bytes, store: Path, tmp_path: Path) -> None:
    try:
        archive = packed(tmp_path / "a.zip", {**contents(good), name: b"x"})
    except UnicodeEncodeError:  # the format has no such name
        return
    assert "alone but got" in refused(archive, store)


@pytest.mark.parametrize("name", ["model.pt", "README.md", "manifest.json"])
@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_device_is_refused(name: str, mode: int, good: bytes, store: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        for file, content in contents(good).items():
            entry = zipfile.ZipInfo(file)
            entry.external_attr = ((mode if file == name else stat.S_IFREG) | 0o777) << 16
            zipped.writestr(entry, content)
    assert "plain files" in refused(tmp_path / "a.zip", store)


@pytest.mark.parametrize("name", ["manifest.json", "model.pt", "data_license.txt", "README.md"])
def test_a_file_that_misses_is_named(name: str, good: bytes, store: Path, tmp_path: Path) -> None:
    files = {file: content for file, content in contents(good).items() if file != name}
    assert f"has no {name}" in refused(packed(tmp_path / "a.zip", files, rehash=name != "manifest.json"), store)


def test_a_file_that_is_there_twice_is_refused(good: bytes, store: Path, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(good)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "a.zip", "a") as zipped:
        zipped.writestr("README.md", b"another")
    assert "twice" in refused(tmp_path / "a.zip", store)


@pytest.mark.parametrize("name", ["model.pt", "auxiliary.pt", "data_license.txt", "README.md", "metrics.json"])
def test_another_file_s_hash_differs(name: str, good: bytes, store: Path, tmp_path: Path) -> None:
    files = {**contents(good), name: contents(good)[name] + b" "}
    assert f"{name} is not the file" in refused(packed(tmp_path / "a.zip", files, rehash=False), store)


def _bomb(folder: Path) -> bytes:
    """A network's file whose inner zip would unpack to far more than it is."""
    with zipfile.ZipFile(folder / "bomb", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("archive/data.pkl", bytes(5_000_000))
    return (folder / "bomb").read_bytes()


def _saved(folder: Path, weights: Any) -> bytes:
    torch.save(weights, folder / "saved")
    return (folder / "saved").read_bytes()


class _Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harmed",)


NETWORKS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "code": (lambda folder: _saved(folder, {"weight": _Harm()}), "expected tensors alone"),
    "a plain pickle": (lambda folder: pickle.dumps(_Harm()), "damaged"),
    "not a dictionary": (lambda folder: _saved(folder, [torch.zeros(1)]), "expected a state dict"),
    "NaN": (lambda folder: save(folder / "nan", value=float("nan")).read_bytes(), "holds NaN or Inf"),
    "infinite": (lambda folder: save(folder / "inf", value=float("inf")).read_bytes(), "holds NaN or Inf"),
    "a bomb": (_bomb, "more than its size"),
    "one value as many": (lambda folder: _saved(folder, {"w": torch.zeros(1).expand(10**12)}), "larger than the file"),
    "text": (lambda folder: b"hello", "damaged"),
    "trained for another window": (
        lambda folder: save(folder / "other", TrainedFor("NECT", "CECT", 40, 400)).read_bytes(),
        "different things",
    ),
}


@pytest.mark.parametrize(("network", "expected"), NETWORKS.values(), ids=NETWORKS)
def test_a_network_that_is_none_is_refused_and_runs_no_code(
    network: Callable[[Path], bytes],
    expected: str,
    good: bytes,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {**contents(good), "model.pt": network(tmp_path)}
    assert expected in refused(packed(tmp_path / "a.zip", files), store)
    assert not Path("harmed").exists()


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"format": 2}', b'{"format": 1, "files": 3, "name": "a"}'],
)
def test_a_manifest_that_is_none(manifest: bytes, good: bytes, store: Path, tmp_path: Path) -> None:
    refused(packed(tmp_path / "a.zip", {**contents(good), "manifest.json": manifest}, rehash=False), store)


def test_an_archive_may_not_grow_without_bounds(good: bytes, store: Path, tmp_path: Path) -> None:
    files = {**contents(good), "auxiliary.pt": bytes(10_000_000)}
    archive = packed(tmp_path / "a.zip", files, method=zipfile.ZIP_DEFLATED)
    assert "times its size" in refused(archive, store)
    archive = packed(tmp_path / "a.zip", {**contents(good), "README.md": os.urandom(1_000_001)})
    assert "too large" in refused(archive, store)


def test_a_text_in_another_encoding_is_refused(good: bytes, store: Path, tmp_path: Path) -> None:
    refused(packed(tmp_path / "a.zip", {**contents(good), "README.md": b"\xff\xfe"}), store)


def test_an_archive_packed_again_is_taken(good: bytes, store: Path, tmp_path: Path) -> None:
    import_weights(packed(tmp_path / "a.zip", contents(good), method=zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("made", ["missing", "folder", "text"])
def test_no_archive_at_all(made: str, store: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    if made == "folder":
        archive.mkdir()
    elif made == "text":
        archive.write_text("hello")
    assert str(archive) in refused(archive, store)
