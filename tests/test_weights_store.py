from __future__ import annotations

from pathlib import Path

import pytest

from monai_nce.bundle_folder import bundle_folder
from monai_nce.errors import InputError
from monai_nce.weights_store import VARIABLE, find_weights, named_weights, store_folder


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with weights of one name, in the environment."""
    folder = tmp_path / "store"
    (folder / "ours").mkdir(parents=True)
    (folder / "ours" / "model.pt").touch()
    (folder / "empty").mkdir()
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "model.pt").touch()
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


def test_names(store: Path) -> None:
    shipped = bundle_folder() / "models" / "model.pt"
    assert list(named_weights().items()) == [("default", shipped), ("ours", store / "ours" / "model.pt")]
    assert find_weights("default") == shipped and shipped.is_file()
    assert find_weights("ours") == store / "ours" / "model.pt"


def test_a_path_is_a_file_or_a_folder_that_holds_one(store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run" / "models"
    run.mkdir(parents=True)
    (run / "model.pt").touch()
    for given in (run / "model.pt", run, run.parent):
        assert find_weights(str(given)) == run / "model.pt"


def test_the_platform_s_folder_of_data_is_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert store_folder().parts[-2:] == ("monai-nce", "weights")
    assert list(named_weights()) == ["default"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("other", "expected a file, a training's folder or one of default, ours but got other"),
        ("empty", "empty: expected a folder with model.pt or models/model.pt in it but found neither"),
        ("a.zip", "nce weights import"),
    ],
)
def test_what_is_not_found(
    given: str, expected: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("a.zip").touch()
    with pytest.raises(InputError, match=expected):
        find_weights(given)
