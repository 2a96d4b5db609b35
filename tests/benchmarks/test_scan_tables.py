"""The tables hold what was measured, with identity in each of them."""

from __future__ import annotations

import numpy as np

from benchmarks.rise import checks, measure_rise, moved_rise
from benchmarks.scan_tables import markdown


def result() -> dict:
    hu = np.full((20, 20, 4), 40.0)
    liver, muscle = np.zeros(hu.shape, dtype=bool), np.zeros(hu.shape, dtype=bool)
    liver[:8], muscle[12:] = True, True
    regions = {"liver": liver, "muscle": muscle}
    synthetic = hu + np.where(liver, 50, 0) + np.where(muscle, 60, 0)
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    measured = {
        "identity": measure_rise(hu, hu, affine, regions, "portal"),
        "synthetic": measure_rise(hu, synthetic, affine, regions, "portal"),
    }
    moved = moved_rise("mirrored", synthetic - hu, synthetic - hu + 21, regions, 20.0)
    scan = {
        "about": "20 voxels.",
        **measured,
        "checks": {name: [check.plain() for check in checks(of)] for name, of in measured.items()},
        "moved": moved,
    }
    return {
        **{"weights": "model.pt", "phase": "portal", "hardware": "a processor", "command": "a command"},
        "scans": {"one": scan},
        "distances": {"liver": {"identity": 50.0, "synthetic": 4.0, "real": None}},
        "real": {"two": {"liver": {"hu": 100.0, "deviation": 9.0}}},
        "pairs": {"pair": {"unregistered": {"identity": {"mse": 0.1, "mae": 12.0}}}},
    }


def rows(text: str) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {line[0]: line[1:] for line in lines}


def test_every_figure_is_in_its_row():
    table = rows(markdown(result()))
    assert table["one"] == ["2 of 3", "1 of 3", "0 of 1"]
    assert table["liver"][-3:] == ["+0.0", "+50.0", "yes"]
    assert table["muscle"][-3:] == ["+0.0", "+60.0", "**no**"]
    piece = table["muscle: largest piece above +40 HU"]
    assert piece[0] == "at most 2 cm³" and piece[2].startswith("80.0 cm³, mean +60 HU, at (") and piece[3] == "**no**"
    assert table["mirrored"] == ["**+21.0**", "±20"]
    assert table["real"] == ["–"] and table["two"] == ["100 ± 9"]
    assert table["pair"] == ["unregistered", "0.1000 (12.0)", "–"]


def test_what_is_missing_has_no_table():
    some = {**result(), "distances": {}, "pairs": {}}
    text = markdown(some)
    assert "Distance" not in text and "Slices of one patient" not in text and "## one" in text
