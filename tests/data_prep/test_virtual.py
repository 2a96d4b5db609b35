from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from data_prep import virtual
from data_prep.__main__ import main
from data_prep.virtual import LabelSource, write_virtual_dataset
from monai_nce.data.dataset.datalist import read_datalist, read_datalist_file
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.errors import InputError
from monai_nce.virtual import LABELS, PHASES, VirtualPatient
from monai_nce.virtual.structures import STRUCTURES
from tests.virtual.anatomy_map import torso_map

AFFINE = np.diag([10.0, 10.0, 5.0, 1.0])


class StandIn:
    """The generator of virtual patients, in next to no time: an anatomy is its file's text."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.completed: list[str] = []
        self.made: list[tuple[str, int]] = []
        for name, function in (("read_label_map", self.read), ("complete", self.complete)):
            monkeypatch.setattr(virtual, name, function)
        monkeypatch.setattr(virtual, "make_virtual_patient", self.make)
        monkeypatch.setattr(virtual, "write_contact_sheets", self.sheet)
        self.titles: list[str] = []

    def read(self, path: Path, naming: str) -> str:
        text = f"{path.read_text()} by {Path(naming).name}"
        if "bad" in text:
            raise InputError(f"{path}: expected a label map but got rubbish")
        return text

    def complete(self, label_map: str) -> str:
        self.completed.append(label_map)
        return label_map

    def make(
        self, anatomy: str, index: int, seed: int = 0, size: int = 128, slices: int = 32, phase: str | None = None
    ) -> VirtualPatient:
        self.made.append((anatomy, index))
        rng = np.random.default_rng([seed, index, *anatomy.encode()])
        volumes = (rng.integers(-1000, 1000, (size, size, slices)).astype(np.int16) for _ in range(3))
        labels = rng.integers(0, 9, (size, size, slices)).astype(np.uint8)
        note = {"phase": phase or "portal", "level": float(rng.uniform(0.6, 1.5)), "anatomy": anatomy}
        return VirtualPatient(f"virtual_{index:04d}", *volumes, labels, AFFINE, note)

    def sheet(self, volumes: dict[str, dict[str, Path]], titles: dict[str, str], next_page: Callable[[], Path]) -> None:
        assert all({"source", "target"} <= set(paths) for paths in volumes.values())
        self.titles = [titles[patient] for patient in volumes]
        next_page().touch()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(monkeypatch)


@pytest.fixture
def maps(tmp_path: Path) -> list[Path]:
    """Three label maps, whose names are those of people."""
    folder = tmp_path / "ward seven"
    folder.mkdir()
    paths = [folder / f"{name}.nii.gz" for name in ("Smith", "Jones", "Brown")]
    for number, path in enumerate(paths):
        path.write_text(f"anatomy {number}")
    return paths


def arguments(out: Path, maps: list[Path], *more: str) -> list[str]:
    small = ["--size", "32", "--slices", "3", "--patients", "8"]
    return ["virtual", "--labels", *map(str, maps), "--naming", "spl", "--output_dir", str(out), *small, *more]


def report_of(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "report.json").read_text())
    return content


def voxels_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "volumes").iterdir())}


def test_the_data_set_holds_the_patients(
    stand_in: StandIn, maps: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(arguments(out, maps, "--seed", "5", "--phase", "arterial")) == 0
    items = read_datalist(out, require=["source", "target", "aligned_source", "labels"])
    assert [item["split"] for item in items] == ["training"] * 5 + ["validation"] + ["test"] * 2
    row = report_of(out)["patients"][3]
    item = next(item for item in items if item["patient"] == "virtual_0003")
    assert row == {
        "phase": "arterial",
        "level": row["level"],
        "anatomy": row["anatomy"],
        "patient": "virtual_0003",
        "index": 3,
        "split": item["split"],
    }
    assert (item["phase"], item["level"]) == ("arterial", row["level"])
    made = stand_in.make(f"anatomy {row['anatomy']} by spl", 3, seed=5, size=32, slices=3)
    for role, volume in (
        ("source", made.nect),
        ("target", made.cect),
        ("aligned_source", made.nect_aligned),
        ("labels", made.labels),
    ):
        np.testing.assert_array_equal(np.asarray(nib.load(item[role]).dataobj), volume)
    said = capsys.readouterr()
    assert "virtual: 8 patients (5 training, 1 validation, 2 test) of 3 anatomies" in said.out
    assert "next: nce train --data " in said.out
    assert "virtual: " in said.err  # the bar
    assert stand_in.titles == [f"virtual_{index:04d}, arterial" for index in range(8)]
    assert (out / "contact_sheet.png").is_file()


def test_the_provenance_says_how_it_was_made_but_names_no_file(
    stand_in: StandIn, maps: list[Path], tmp_path: Path
) -> None:
    naming = tmp_path / "of Dr Miller.json"
    naming.write_text("{}")
    given = arguments(tmp_path / "out", maps[:2], "--seed", "5", "--labels", str(maps[2]), "--naming", str(naming))
    assert main([*given, "--licence", "CC BY 4.0, by somebody"]) == 0
    about = read_datalist_file(tmp_path / "out")
    assert about["kind"] == "virtual" and about["licence"] == "CC BY 4.0, by somebody"
    made = about["provenance"]
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (*maps, naming)]
    assert made["anatomies"] == [
        {"sha256": sums[0], "naming": "spl", "hold_out": False},
        {"sha256": sums[1], "naming": "spl", "hold_out": False},
        {"sha256": sums[2], "naming": "own", "naming_sha256": sums[3], "hold_out": False},
    ]
    assert made["labels"] == LABELS
    wanted = {"generator": "monai_nce.virtual", "generator_version": 2, "seed": 5, "size": 32, "slices": 3}
    assert wanted.items() <= made.items()
    written = (tmp_path / "out" / "datalist.json").read_text() + (tmp_path / "out" / "report.json").read_text()
    for name in ("Smith", "Jones", "Brown", "Miller", "ward", str(tmp_path)):
        assert name not in written


def test_each_anatomy_is_completed_once_and_has_its_share_of_every_split(
    stand_in: StandIn, maps: list[Path], tmp_path: Path
) -> None:
    write_virtual_dataset(
        tmp_path / "out", [LabelSource(path, "spl") for path in maps], patients=24, size=8, slices=1, progress=False
    )
    assert sorted(stand_in.completed) == [f"anatomy {number} by spl" for number in range(3)]
    counts = {
        split: [
            sum(row["anatomy"] == number for row in report_of(tmp_path / "out")["patients"] if row["split"] == split)
            for number in range(3)
        ]
        for split in ("training", "validation", "test")
    }
    assert counts == {"training": [5, 5, 5], "validation": [1, 1, 1], "test": [2, 2, 2]}


def test_a_held_out_anatomy_makes_the_test_patients_and_no_others(
    stand_in: StandIn, maps: list[Path], tmp_path: Path
) -> None:
    assert main(arguments(tmp_path / "out", maps, "--hold-out", str(maps[1]))) == 0
    report = report_of(tmp_path / "out")
    assert {row["anatomy"] for row in report["patients"] if row["split"] == "test"} == {1}
    assert {row["anatomy"] for row in report["patients"] if row["split"] != "test"} == {0, 2}
    assert [row["split"] for row in report["patients"]].count("test") == 2
    assert [anatomy["hold_out"] for anatomy in report["anatomies"]] == [False, True, False]


def test_one_naming_serves_all_label_maps_or_each_group_has_its_own(
    stand_in: StandIn, maps: list[Path], tmp_path: Path
) -> None:
    assert main(arguments(tmp_path / "a", maps[:1], "--labels", str(maps[1]), str(maps[2]))) == 0
    assert set(stand_in.completed) == {f"anatomy {number} by spl" for number in range(3)}
    given = arguments(tmp_path / "b", maps[:1], "--labels", str(maps[1]), str(maps[2]), "--naming", "totalsegmentator")
    assert main(given) == 0
    assert set(stand_in.completed[3:]) == {
        "anatomy 0 by spl",
        "anatomy 1 by totalsegmentator",
        "anatomy 2 by totalsegmentator",
    }


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--naming", "spl", "--naming", "spl"], "--naming: expected one for all, or one for each --labels"),
        (["--hold_out", "other.nii.gz"], "--hold_out: other.nii.gz is not one of --labels"),
        (["--hold_out", "ALL"], "expected a label map that is not held out"),
        (["--hold_out", "FIRST", "--test_fraction", "0"], "hold out: expected test patients"),
        (["--labels", "FIRST"], "comes twice"),
        (["--labels", "missing.nii.gz"], "missing.nii.gz: no such file or folder"),
        (["--naming", "missing.json", "--labels", "BAD"], "missing.json: no such file"),
        (["--labels", "BAD"], "bad.nii.gz: expected a label map but got rubbish"),
        (["--test_fraction", "1"], "--test_fraction: expected a number from 0 to below 1 but got 1"),
        (["--test_fraction", "0.6", "--validation_fraction", "0.4"], "fractions of 0 or more"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_nothing_is_written(
    more: list[str],
    message: str,
    stand_in: StandIn,
    maps: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = tmp_path / "bad.nii.gz"
    bad.write_text("bad")
    before = sorted(tmp_path.rglob("*"))
    places = {"ALL": [*map(str, maps)], "FIRST": [str(maps[0])], "BAD": [str(bad)]}
    given = arguments(tmp_path / "out", maps, *(text for word in more for text in places.get(word, [word])))
    assert main(given) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ") and message in last
    assert sorted(tmp_path.rglob("*")) == before


def test_more_label_maps_than_patients_are_all_read_but_not_all_completed(
    stand_in: StandIn, maps: list[Path], tmp_path: Path
) -> None:
    sources = [LabelSource(path, "spl") for path in maps]
    write_virtual_dataset(tmp_path / "a", sources, patients=1, size=32, slices=1, progress=False)
    assert len(stand_in.completed) == 1
    maps[2].write_text("bad")
    with pytest.raises(InputError, match="rubbish"):
        write_virtual_dataset(tmp_path / "b", sources, patients=1, size=32, slices=1, progress=False)


def test_a_folder_is_known_by_its_masks(stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = tmp_path / "patient" / "segmentations"
    masks.mkdir(parents=True)
    (masks.parent / "ct.nii.gz").write_bytes(b"the scan itself")
    for name, content in (("liver", b"1"), ("aorta", b"2")):
        (masks / f"{name}.nii.gz").write_bytes(content)
    monkeypatch.setattr(virtual, "read_label_map", lambda path, naming: "an anatomy")
    source = LabelSource(masks.parent, "spl")
    write_virtual_dataset(tmp_path / "out", [source], patients=1, size=8, slices=1, progress=False)
    (about,) = report_of(tmp_path / "out")["anatomies"]
    # what `sha256sum *` prints there
    lines = "".join(
        f"{hashlib.sha256(text).hexdigest()}  {name}.nii.gz\n" for name, text in (("aorta", b"2"), ("liver", b"1"))
    )
    assert about["sha256"] == hashlib.sha256(lines.encode()).hexdigest()


def test_warnings_of_the_reader_are_said(
    stand_in: StandIn,
    maps: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def doubtful(path: Path, naming: str) -> str:
        warnings.warn(f"{path.name}: odd spacing", ReaderWarning, stacklevel=2)
        return stand_in.read(path, naming)

    monkeypatch.setattr(virtual, "read_label_map", doubtful)
    assert main(arguments(tmp_path / "out", maps)) == 0
    said = capsys.readouterr().err
    assert all(said.count(f"warning: {path.name}: odd spacing\n") == 1 for path in maps)


def test_an_interrupted_run_goes_on(
    stand_in: StandIn,
    maps: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(arguments(tmp_path / "whole", maps)) == 0
    del stand_in.made[:]

    def stop(anatomy: str, index: int, **numbers: Any) -> VirtualPatient:
        if len(stand_in.made) == 3:
            raise KeyboardInterrupt
        return stand_in.make(anatomy, index, **numbers)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(virtual, "make_virtual_patient", stop)
        with pytest.raises(SystemExit) as caught:
            main(arguments(out, maps))
    assert caught.value.code == 130 and "--resume goes on with them" in capsys.readouterr().err
    assert not (out / "datalist.json").exists()
    assert main(arguments(out, maps)) == 2
    assert main(arguments(out, maps, "--seed", "1", "--resume")) == 2
    maps[0].write_text("another anatomy")
    assert main(arguments(out, maps, "--resume")) == 2
    maps[0].write_text("anatomy 0")
    assert main(arguments(out, maps, "--resume", "True")) == 0
    assert sorted(index for _, index in stand_in.made) == list(range(8))
    assert voxels_of(out) == voxels_of(tmp_path / "whole")
    for name in ("datalist.json", "report.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_numbers_and_seed_make_another_patient(stand_in: StandIn, maps: list[Path], tmp_path: Path) -> None:
    outs = []
    for name, more in (("a", []), ("b", []), ("c", ["--seed", "1"])):
        assert main(arguments(tmp_path / name, maps, *more)) == 0
        outs.append(voxels_of(tmp_path / name))
    assert outs[0] == outs[1]
    assert outs[0] != outs[2]


@pytest.mark.slow
def test_real_patients_are_the_same_however_many_processes_make_them(tmp_path: Path) -> None:
    torso, naming = torso_map(), tmp_path / "naming.json"
    nib.save(nib.Nifti1Image(torso.structures, torso.affine), tmp_path / "torso.nii.gz")
    naming.write_text(json.dumps({str(value): name for name, value in STRUCTURES.items()}))
    source = LabelSource(tmp_path / "torso.nii.gz", str(naming))
    outs = []
    for workers in (1, 2):
        outs.append(tmp_path / str(workers))
        small = {"patients": 2, "size": 32, "slices": 2, "seed": 4, "workers": workers, "progress": False}
        write_virtual_dataset(outs[-1], [source], **small)
    for name in ("datalist.json", "report.json", "contact_sheet.png"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()
    assert voxels_of(outs[0]) == voxels_of(outs[1])
    for row in report_of(outs[0])["patients"]:
        assert row["phase"] in PHASES and row["level"] > 0
        assert "torso" not in json.dumps(row)
