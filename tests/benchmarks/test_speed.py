from __future__ import annotations

import json

import pytest

from benchmarks import speed


def times(median: float) -> dict[str, float]:
    return {"median": median, "low": median - 0.1, "high": median + 0.1}


FIGURES = {
    "forwards": {
        "paper 256": {
            "batch_size": 4,
            "gflop_per_stack": 14.6051973,
            "backends": {
                "openvino bf16": {"seconds": times(0.2), "faster": times(3.5), "mean_hu": 0.0625},
                "torch bf16": {"seconds": times(0.3), "faster": times(2.5), "mean_hu": 0.125},
            },
        },
    },
    "volume": {"torch bf16": {"volume": [256, 256, 120], "seconds": {"cold": times(5.0)}, "off": {"mean_hu": 0.25}}},
    "training": {"default": {"stage1": {"images_per_second": 20.0, "part_of_bare": times(0.975)}}},
    "loader": {"stacks_per_second": {"0 workers": 2000.0}},
    "contention": {"training": {"1 busy": {"seconds": times(0.25), "kept": 0.5}}},
}
LINES = [
    "forwards, paper 256: batch_size 4, gflop_per_stack 14.61",
    "forwards, paper 256, backends, openvino bf16: seconds 0.2 [0.1, 0.3], faster 3.5 [3.4, 3.6], mean_hu 0.0625",
    "forwards, paper 256, backends, torch bf16: seconds 0.3 [0.2, 0.4], faster 2.5 [2.4, 2.6], mean_hu 0.125",
    "volume, torch bf16: volume [256, 256, 120]",
    "volume, torch bf16, seconds: cold 5 [4.9, 5.1]",
    "volume, torch bf16, off: mean_hu 0.25",
    "training, default, stage1: images_per_second 20, part_of_bare 0.975 [0.875, 1.075]",
    "loader, stacks_per_second: 0 workers 2000",
    "contention, training, 1 busy: seconds 0.25 [0.15, 0.35], kept 0.5",
]


@pytest.fixture
def measured(monkeypatch):
    """The parts, each giving its figures at once."""
    parts = {name: lambda arguments, name=name: FIGURES[name] for name in speed.PARTS}
    assert set(parts) == set(FIGURES)
    monkeypatch.setattr(speed, "PARTS", parts)
    return parts


def test_all_parts_are_printed_and_written(measured, tmp_path, capsys):
    out = tmp_path / "speed.json"
    assert speed.main(["--folder", str(tmp_path / "runs"), "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == LINES
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["hardware"]["cores"] and written["threads"]
    assert {name: written[name] for name in FIGURES} == FIGURES


def test_what_was_measured_is_kept_when_a_later_part_fails(measured, tmp_path):
    def broken(arguments):
        raise RuntimeError("no more")

    measured["training"] = broken
    out = tmp_path / "speed.json"
    with pytest.raises(RuntimeError, match="no more"):
        speed.main(["--folder", str(tmp_path), "--out", str(out)])
    assert {"forwards", "volume"} < set(json.loads(out.read_text(encoding="utf-8")))


def test_parts_can_be_chosen(measured, tmp_path, capsys):
    speed.main(["--only", "contention", "--folder", str(tmp_path)])
    assert capsys.readouterr().out.splitlines() == LINES[-1:]
    with pytest.raises(SystemExit):
        speed.main(["--only", "everything"])


def test_the_shipped_network_is_the_bundles(tmp_path):
    network, path = speed._shipped(tmp_path)
    assert path.read_bytes() == speed.CHECKPOINT.read_bytes()
    assert not network.training and network.residual
