from __future__ import annotations

from pathlib import Path

from benchmarks.made_patients import phantoms, virtual_patients


def test_without_label_maps_there_are_phantoms_alone(tmp_path: Path) -> None:
    assert not list(virtual_patients(tmp_path, 2, 0)) and not list(virtual_patients(None, 2, 0))
    first, second = phantoms(2, 0)
    assert first.patient != second.patient
