from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.preparation import UID_ROOT, write_studies
from data_prep import ct_archive
from data_prep.__main__ import main
from data_prep.messages import MAX_LINES
from data_prep.patient import Job, Outcome, PairSettings, prepare_patient
from monai_nce.data.dataset.datalist import read_datalist, read_datalist_file

Add = Callable[..., Path]
Output = pytest.CaptureFixture[str]
SMALL = ["--size", "32", "--spacing", "10", "--min-slices", "5"]
ROOT = Path(__file__).resolve().parents[2]


def run(tmp_path: Path, *options: str, out: str = "out") -> int:
    return main(["ct", *options, *SMALL, "--out-dir", str(tmp_path / out)])


def report(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


def add_pair(add_series: Add, patient: str, study: int, phase: str = "portal", root: str = "s") -> None:
    add_series(f"{root}/{patient}/a", "nativ", patient, study=study)
    add_series(f"{root}/{patient}/b", phase, patient, enhanced=True, study=study)


def test_a_folder_of_studies(add_series: Add, tmp_path: Path, capsys: Output) -> None:
    """Patients, splits, report, contact sheet and what is printed; no name or identifier in any of it but in paths."""
    for study, patient in enumerate(("DOE-1", "DOE-2", "DOE-3", "DOE-4"), start=1):
        add_pair(add_series, patient, study, "late" if study == 2 else "portal")
    add_series("s/DOE-5/a", "nativ", "DOE-5", study=5)
    secrets = {"PatientName": "SENTINEL^JANE", "PatientBirthDate": "19420102", "PatientID": "SENTINEL-ID"}
    add_series("s/6/a", "Sentinel Jane nativ", study=6, **secrets)
    add_series("s/6/b", "portal SENTINEL-ID", enhanced=True, study=6, **secrets)
    secrets["PatientID"] = "SENTINEL-7"
    add_series("s/7/a", "nativ SENTINEL-7", study=7, **secrets)
    assert run(tmp_path, "--studies", str(tmp_path / "s")) == 0
    out, err = capsys.readouterr()
    assert out.startswith("ct: 5 pairs (3 training, 1 validation, 1 test; 4 portal, 1 late), 2 left out; see ")
    assert "pair_004: left out: no contrast-enhanced series" in err
    items = read_datalist(tmp_path / "out", require=["source", "target"])
    assert sorted(item["patient"] for item in items) == ["pair_000", "pair_001", "pair_002", "pair_003", "pair_006"]
    phases = {item["patient"]: item["phase"] for item in items}
    assert phases == {f"pair_{n:03d}": "delayed" if n == 1 else "portal" for n in (0, 1, 2, 3, 6)}
    content = report(tmp_path / "out")
    assert content["counts"] == {
        "patients": 7,
        "pairs": 5,
        "left_out": 2,
        "studies_not_used": 0,
        "series_by_header": {"late": 1, "nect": 7, "portal": 4},
        "pairs_by_phase": {"late": 1, "portal": 4},
        "reasons": {"no contrast-enhanced series": 2},
    }
    assert {row["patient"]: row["split"] for row in content["patients"]} == {
        item["patient"]: item["split"] for item in items
    }
    assert [row["patient"] for row in content["left_out"]] == ["pair_004", "pair_005"]
    assert (tmp_path / "out" / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir(tmp_path / "out")) == ["contact_sheet.png", "datalist.json", "report.json", "volumes"]
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    everything = b"".join(path.read_bytes() + path.name.encode() for path in written)
    for secret in ("sentinel", "jane", "19420102", "doe-", str(tmp_path), UID_ROOT):
        assert secret.encode() not in everything.lower()
    assert not any(secret in f"{out}{err}".lower() for secret in ("sentinel", "jane", "19420102"))


@pytest.mark.parametrize(("phase", "chosen"), [([], "portal"), (["--phase", "arterial"], "arterial")])
def test_a_preset_and_the_phase_wanted(phase: list[str], chosen: str, add_series: Add, tmp_path: Path) -> None:
    for name in ("native", "arterial", "venous"):
        add_series(f"s/001/{name}", "Thorax", patient="", enhanced=name != "native")
    assert run(tmp_path, "--studies", str(tmp_path / "s"), "--preset", "coltea-lung", *phase) == 0
    (row,) = report(tmp_path / "out")["patients"]
    assert (row["cect"]["phase"], row["cect"]["evidence"]) == (chosen, "preset")
    about = read_datalist_file(tmp_path / "out")
    assert about["provenance"]["source"] == "coltea-lung" and about["licence"].startswith("CC BY-SA 4.0")


def test_several_phases_in_one_series_are_refused_and_reported(add_series: Add, tmp_path: Path, capsys: Output) -> None:
    """HCC-TACE-Seg: two acquisitions at the same positions under one series UID."""
    add_pair(add_series, "HCC_2", 2)
    for folder in ("x", "y"):
        both = {"SeriesInstanceUID": f"{UID_ROOT}1.77", "SeriesDescription": "Recon 2: LIVER 3 PHASE (AP)"}
        add_series(f"s/HCC_1/{folder}", patient="HCC_1", enhanced=True, **both)
    add_series("s/HCC_1/pre", "PRE LIVER", "HCC_1")
    for file in (tmp_path / "s" / "HCC_2").rglob("*.dcm"):
        rename_series(file, {"nativ": "PRE LIVER", "portal": "Recon 2: LIVER 3 PHASE (AP)"})
    assert run(tmp_path, "--studies", str(tmp_path / "s"), "--preset", "hcc-tace-seg") == 0
    (row,) = report(tmp_path / "out")["left_out"]
    assert row["patient"] == "pair_000"
    assert row["reason"].startswith("no pair of its series can be used: ") and "position" in row["reason"]
    assert "HCC" not in json.dumps(row)


def rename_series(file: Path, names: dict[str, str]) -> None:
    import pydicom

    dataset = pydicom.dcmread(file)
    dataset.SeriesDescription = names[dataset.SeriesDescription]
    dataset.save_as(file)


def test_a_list_of_pairs(add_series: Add, tmp_path: Path, capsys: Output) -> None:
    add_series("s/1", "x")
    add_series("s/2", "x", enhanced=True)
    add_series("beside", "x", enhanced=True)
    rows = ["patient,nect,cect,phase", f"DOE,{UID_ROOT}1.1,beside,", f"ROE,s/1,{UID_ROOT}1.2,late", "POE,s/1,none,"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    assert run(tmp_path, "--csv", str(tmp_path / "list.csv"), "--studies", str(tmp_path / "s")) == 0
    content = report(tmp_path / "out")
    assert [(row["patient"], row["cect"]["phase"], row["cect"]["evidence"]) for row in content["patients"]] == [
        ("pair_000", "cect", "csv"),
        ("pair_002", "late", "csv"),
    ]
    assert content["left_out"][0]["reason"] == "a volume of its row in the list was not found, or is not one volume"
    err = capsys.readouterr().err
    assert "row 4: cect: " in err and "POE" not in err and "POE" not in json.dumps(content)


def test_one_patient_id_for_everybody(add_series: Add, tmp_path: Path, capsys: Output) -> None:
    """As a placeholder each study is a patient; as the archive's only one too, but all are kept in one split."""
    for study in range(1, 4):
        for name, enhanced in (("nativ", False), ("portal", True)):
            add_series(f"a/{study}/{name}", name, "ANONYMOUS", enhanced, study)
            if study > 1:
                add_series(f"b/{study}/{name}", name, "4711", enhanced, study + 10)
    for root, count, splits in (("a", 3, {"training", "validation", "test"}), ("b", 2, {"training"})):
        assert run(tmp_path, "--studies", str(tmp_path / root), out=f"out-{root}") == 0
        items = read_datalist(tmp_path / f"out-{root}")
        assert len(items) == count and {item["split"] for item in items} == splits
        out, err = capsys.readouterr()
        assert f"{count} studies have one PatientID that seems to be several people's; each counts as a patient" in err
        assert ("notice: 1 of 2 pairs are of persons that come twice" in err) == (root == "b")
        assert "ANONYMOUS" not in out + err and "4711" not in out + err


def test_two_people_under_one_patient_id_are_no_pair(add_series: Add, tmp_path: Path, capsys: Output) -> None:
    women, men = ({"PatientSex": sex, "PatientBirthDate": born} for sex, born in (("F", "19500101"), ("M", "19900101")))
    add_series("s/a", "nativ", "4711", study=1, **women)
    add_series("s/b", "portal", "4711", True, study=2, **men)
    assert run(tmp_path, "--studies", str(tmp_path / "s")) == 2
    assert "none has a pair that can be used" in capsys.readouterr().err.splitlines()[-1]
    (tmp_path / "list.csv").write_text("patient,nect,cect\nX,s/a,s/b\n")
    assert run(tmp_path, "--csv", str(tmp_path / "list.csv")) == 2
    reason = "NECT and CECT are two people's: they differ in PatientSex, PatientBirthDate"
    assert reason in capsys.readouterr().err.splitlines()[-1]


def test_studies_that_are_not_used_are_counted(add_series: Add, tmp_path: Path, capsys: Output) -> None:
    add_pair(add_series, "P1", 1)
    add_series("s/later", "portal", "P1", enhanced=True, study=2)
    add_pair(add_series, "P2", 3)
    assert run(tmp_path, "--studies", str(tmp_path / "s")) == 0
    assert ", 0 left out, 1 other study of these patients not used; see " in capsys.readouterr().out
    assert report(tmp_path / "out")["counts"]["studies_not_used"] == 1


def test_a_list_is_doubted_where_headers_say_otherwise(add_series: Add, tmp_path: Path, capsys: Output) -> None:
    add_series("s/a", "portal", "P1")
    add_series("s/b", "nativ", "P2", enhanced=True)
    (tmp_path / "list.csv").write_text("patient,nect,cect\nX,s/a,s/b\nY,s/a,s/a\n")
    assert run(tmp_path, "--csv", str(tmp_path / "list.csv")) == 0
    content = report(tmp_path / "out")
    assert content["patients"][0]["warnings"] == [
        "NECT and CECT differ in PatientID; taken for one patient's because of the list",
        "the NECT of the list is a CECT by its header",
        "the CECT of the list is a NECT by its header",
    ]
    assert content["left_out"][0]["reason"].endswith("NECT and CECT are the same image")


def test_nothing_usable_is_one_line_and_nothing_written(add_series: Add, tmp_path: Path, capsys: Output) -> None:
    add_series("s/1", "nativ")
    assert run(tmp_path, "--studies", str(tmp_path / "s"), out="x/out") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert last.endswith("none has a pair that can be used; pair_000: no contrast-enhanced series")
    assert sorted(os.listdir(tmp_path)) == ["s"]


def test_many_lines_are_counted(add_series: Add, tmp_path: Path, capsys: Output) -> None:
    for number in range(12):
        add_series(f"s/{number}", "nativ", f"P{number}", slices=1, study=number)
    add_pair(add_series, "Q", 99)
    lines = MAX_LINES
    for number in range(12, 12 + lines):
        add_series(f"s/{number}", "nativ", f"P{number}", slices=1, study=number)
    assert run(tmp_path, "--studies", str(tmp_path / "s")) == 0
    err = capsys.readouterr().err.splitlines()
    assert sum(": left out: " in line for line in err) == lines
    assert f"... and {12} lines more, see report.json" in err
    assert len(report(tmp_path / "out")["left_out"]) == 12 + lines


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> Iterator[list[str]]:
    """Four studies of which a run has finished two when it is interrupted, and who is prepared from then on."""
    write_studies(tmp_path / "s", 4, size=32, slices=8)
    done: list[str] = []

    def stop(job: Job, settings: PairSettings) -> Outcome:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(job.patient)
        return prepare_patient(job, settings)

    with monkeypatch.context() as patch:
        patch.setattr(ct_archive, "prepare_patient", stop)
        with pytest.raises(SystemExit) as ended:
            run(tmp_path, "--studies", str(tmp_path / "s"))
    assert ended.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("interrupted; the patients that are finished are kept")
    prepared: list[str] = []

    def count(job: Job, settings: PairSettings) -> Outcome:
        prepared.append(job.patient)
        return prepare_patient(job, settings)

    monkeypatch.setattr(ct_archive, "prepare_patient", count)
    yield prepared


def test_an_interrupt_is_one_line_and_resumed(stopped: list[str], tmp_path: Path, capsys: Output) -> None:
    assert os.listdir(tmp_path / "out") == [".unfinished"]
    assert run(tmp_path, "--studies", str(tmp_path / "s")) == 2
    assert "--resume goes on with it" in capsys.readouterr().err
    assert run(tmp_path, "--studies", str(tmp_path / "s"), "--resume", "--seed", "1") == 2
    assert "other input or settings" in capsys.readouterr().err
    assert run(tmp_path, "--studies", str(tmp_path / "s"), "--resume", "True") == 0
    assert stopped == ["pair_002", "pair_003"]
    assert run(tmp_path, "--studies", str(tmp_path / "s"), out="whole") == 0
    compare(tmp_path / "out", tmp_path / "whole")


def test_changed_input_is_not_resumed(stopped: list[str], tmp_path: Path, capsys: Output) -> None:
    next((tmp_path / "s").rglob("*.dcm")).unlink()
    assert run(tmp_path, "--studies", str(tmp_path / "s"), "--resume") == 2
    assert "other input or settings" in capsys.readouterr().err
    assert run(tmp_path, "--studies", str(tmp_path / "s"), "--overwrite") == 0
    assert len(stopped) == 4


def compare(one: Path, other: Path) -> None:
    """Two data sets are the same, byte by byte."""
    names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in (one, other)]
    assert names[0] == names[1]
    for name in names[0]:
        if (one / name).is_file():
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.slow
def test_a_kill_is_resumed_in_processes(tmp_path: Path) -> None:
    """SIGKILL in the middle; what is finished by then is not prepared again, and no worker stays behind."""
    write_studies(tmp_path / "s", 8, size=96, slices=40)
    command = [sys.executable, "-m", "data_prep", "ct", "--studies", str(tmp_path / "s"), *SMALL, "--workers", "2"]
    command += ["--out-dir", str(tmp_path / "out")]
    finished = tmp_path / "out" / ".unfinished" / "finished"
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    until(lambda: finished.is_dir() and len(list(finished.glob("*.json"))) >= 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not group_alive(process.pid))
    assert os.listdir(tmp_path / "out") == [".unfinished"]
    kept = {path: path.stat().st_mtime_ns for path in finished.glob("*.json")}
    assert 2 <= len(kept) < 8
    volumes = {path: path.stat().st_ino for path in (finished.parent / "volumes").glob("pair*.nii")}
    result = subprocess.run([*command, "--resume"], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    assert len(read_datalist(tmp_path / "out")) == 8
    after = {path.name: path.stat().st_ino for path in (tmp_path / "out" / "volumes").iterdir()}
    assert len(after) == 16
    for path in kept:  # the very files, moved into place
        for role in ("source", "target"):
            name = f"{path.stem}_{role}.nii"
            assert after[name] == volumes[finished.parent / "volumes" / name]
    assert not (tmp_path / "out" / ".unfinished").exists()


def until(condition: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "too slow"
        time.sleep(0.01)


def group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
