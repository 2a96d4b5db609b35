"""Tests of keeping twins in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import twins
from benchmarks.twins import make_twins
from monai_nce.errors import InputError
from monai_nce.virtual import Anatomy, complete
from tests.virtual.anatomy_map import SPACING, torso_map


def test_twins_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torso = complete(torso_map(), spacing=SPACING)
    make, calls = twins.make_virtual_twins, []

    def small(anatomy: Anatomy, index: int, wanted: list[object], **given: object) -> object:
        calls.append(index)
        return make(anatomy, index, wanted, size=48, slices=8, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(twins, "anatomies", lambda data: iter([torso]))
    monkeypatch.setattr(twins, "make_virtual_twins", small)
    monkeypatch.setattr(twins, "TRIES", 2)
    first, again = (next(make_twins(tmp_path, 1, 3, tmp_path)) for _ in range(2))
    assert 1 <= len(calls) <= 2
    assert first.planted == again.planted and first.planted
    assert first.spacing == again.spacing
    for name in ("plain", "cect", "tissues", "lesions"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.lesions.max() <= len(first.planted)


def test_a_folder_without_label_maps(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder laid out as NCE_REAL_DATA"):
        list(make_twins(tmp_path, 1, 0, tmp_path))
