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
            "backends": {
                "openvino bf16": {
                    "seconds": times(0.2),
                    "faster": times(3.5),
                    "at_best": 4.25,
                    "busy": 0.75,
                    "mean_hu": 0.0625,
                    "p999_hu": 1.5,
                },
                "torch.compile bf16": {
                    "seconds": times(0.3),
                    "faster": times(2.5),
                    "at_best": 2.75,
                    "mean_hu": 0.125,
                    "p999_hu": 1.75,
                },
            },
        },
        "peer": {
            "generator": {"seconds": times(0.5), "gflop_per_stack": 20.0},
            "SPADENet": {"seconds": times(0.9), "gflop_per_stack": 30.0},
        },
    },
    "volume": {
        "volume": [256, 256, 120],
        "backend": "openvino bf16",
        "seconds": {"forwards, stride 1": times(4.0), "file to file, stride 1": times(5.0)},
        "faster_than_eager": {"forwards, stride 1": times(3.5), "file to file, stride 1": times(2.75)},
        "over_forwards": {"file to file, stride 1": times(1.25)},
        "off": {"stride 1": {"mean_hu": 0.0625, "p999_hu": 1.25}},
    },
    "strides": {"patients": 1, "strides": {"3": {"mse": 0.008, "mean_hu_from_stride_1": 0.75}}},
    "training": {
        "bf16_matmul_tflops": 700.0,
        "default": {"stage1": {"images_per_second": 20.0, "part_of_bare": times(0.975)}},
        "paper bf16": {"train": {"images_per_second": 80.0, "part_of_bare": times(1.0), "part_of_peak": 0.375}},
    },
    "compiling": {"default bf16": {"stage1": {"faster": times(1.25), "compiling_s": 90.25}}},
    "loader": {
        "stacks_per_second": {"phantom 128, 0 workers": 2000.0, "sparse 256, 0 workers": 900.0},
        "memory": {"10 patients": {"after_mib": 527.0, "open_files": 10}},
    },
}
LINES = [
    "paper 256, batches of 4, against eager PyTorch in fp32:",
    "  openvino bf16        0.2000 s (0.1000 to 0.3000), 3.50x (3.40 to 3.60), fastest turns compared 4.25x, keeps "
    "0.75 of it beside a busy process; off by 0.062 HU on average, 99.9 % below 1.50",
    "  torch.compile bf16   0.3000 s (0.2000 to 0.4000), 2.50x (2.40 to 2.60), fastest turns compared 2.75x; off by "
    "0.125 HU on average, 99.9 % below 1.75",
    "generator and MONAI's SPADENet, 256, eager fp32: 0.500 s and 0.900 s a batch, 1.20 times faster per operation",
    "a volume of 256 x 256 x 120 by openvino bf16:",
    "  forwards, stride 1               4.00 s (3.90 to 4.10), 3.5x",
    "  file to file, stride 1           5.00 s (4.90 to 5.10), 2.8x",
    "  file to file, stride 1, over its forwards: 1.250 (1.150 to 1.350)",
    "  stride 1: off by 0.062 HU on average, 99.9 % below 1.25",
    "stride 3: MSE 0.00800, 0.75 HU from stride 1",
    "default, stage1: 20.0 stacks/s, 0.975 of the bare loop's speed (0.875 to 1.075)",
    "paper bf16, train: 80.0 stacks/s, 1.000 of the bare loop's speed (0.900 to 1.100), 37.5% of the bf16 peak",
    "default bf16, stage1, compiled: 1.25x (1.15 to 1.35) after 90 s of compilation",
    "loader, phantom 128, 0 workers: 2000 stacks/s",
    "loader, sparse 256, 0 workers: 900 stacks/s",
    "loader, phantom 128, 0 workers: 100 times what the faster stage of the default training takes",
    "loader, 10 patients: 527 MiB, 10 open files",
]


@pytest.fixture
def measured(monkeypatch):
    """The parts, each giving its figures at once."""
    parts = {name: lambda arguments, name=name: json.loads(json.dumps(FIGURES[name])) for name in speed.PARTS}
    assert set(parts) == set(FIGURES)
    monkeypatch.setattr(speed, "PARTS", parts)
    return parts


def test_all_parts_are_printed_and_written(measured, tmp_path, capsys):
    out = tmp_path / "speed.json"
    assert speed.main(["--folder", str(tmp_path / "runs"), "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == LINES
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["hardware"]["cores"] and written["threads"]
    assert written["loader"].pop("times_faster_than_training") == {"phantom 128, 0 workers": 100.0}
    assert {name: written[name] for name in FIGURES} == FIGURES


def test_what_was_measured_is_kept_when_a_later_part_fails(measured, tmp_path):
    def broken(arguments):
        raise RuntimeError("no more")

    measured["strides"] = broken
    out = tmp_path / "speed.json"
    with pytest.raises(RuntimeError, match="no more"):
        speed.main(["--folder", str(tmp_path), "--out", str(out)])
    assert {"forwards", "volume"} < set(json.loads(out.read_text(encoding="utf-8")))


def test_parts_can_be_chosen(measured, tmp_path, capsys):
    speed.main(["--only", "strides", "--folder", str(tmp_path)])
    assert capsys.readouterr().out.splitlines() == [LINES[9]]
    with pytest.raises(SystemExit):
        speed.main(["--only", "everything"])


@pytest.mark.parametrize(
    ("flags", "backend"),
    [((), "torch bf16"), (("--backend", "openvino fp32"), "openvino fp32"), (("--only", "volume"), None)],
)
def test_volumes_are_for_the_fastest_backend_that_is_offered(flags, backend, measured, tmp_path, monkeypatch):
    rows = {
        name: {**FIGURES["forwards"]["paper 256"]["backends"]["openvino bf16"]}
        for name in ("openvino bf16", "torch bf16")
    }
    rows["torch bf16"]["seconds"] = times(0.19)
    rows["torch.compile bf16"] = {**rows["torch bf16"], "seconds": times(0.18)}
    forwards = {"paper 256": {**FIGURES["forwards"]["paper 256"], "backends": rows}}
    measured["forwards"] = lambda arguments: forwards
    got = []
    measured["volume"] = lambda arguments: got.append(arguments.backend) or FIGURES["volume"]
    speed.main(["--folder", str(tmp_path), *flags])
    assert got == [backend]
