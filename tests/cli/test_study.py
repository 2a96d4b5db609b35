from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from monai_nce.cli.app import main
from monai_nce.study.database import Study
from tests.study.studies import make_study, write_folders


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["study", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["study", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    return said


def test_a_study_is_made_and_each_reader_has_an_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scans, methods = write_folders(tmp_path, real=["p1"])
    folder = tmp_path / "study"
    given = [part for name, results in methods.items() for part in ("--methods", f"{name}={results}")]
    asked = ["--readers", "3", "--repeats", "0.5", "--real", "real", "--ask-real", "--seed", "5"]
    said = run(capsys, "new", "--cases", str(scans), *given, "-o", str(folder), *asked)
    # 7 images, 4 of them twice, but no more than half: 3
    assert "3 scans, 3 methods, 10 images to grade for each reader, repeats included. Research use only." in said
    addresses = re.findall(r"^reader (\d): http://127\.0\.0\.1:8321/#(\S+)$", said, re.MULTILINE)
    study = Study(folder)
    for reader, token in addresses:
        session = study.sign_in(token)
        assert session and study.reader_of(session) == int(reader)
    assert [reader for reader, _ in addresses] == ["1", "2", "3"]
    assert (study.about["real"], study.about["ask_real"], study.about["seed"]) == ("real", True, 5)
    assert run(capsys, "status", str(folder)).splitlines()[0] == "reader 1: 0 of 10 images graded"
    given_again = run(capsys, "token", str(folder), "--reader", "2").split("#")[1].strip()
    assert study.sign_in(given_again) and not study.sign_in(addresses[1][1])


def test_wrong_input_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = make_study(tmp_path)
    for methods, said in (
        (["alpha"], "alpha: expected NAME=FOLDER"),
        (["=x"], "=x: expected NAME=FOLDER"),
        (["a=x", "a=y"], "a: is named twice"),
    ):
        given = [part for one in methods for part in ("--methods", one)]
        assert said in refused(capsys, "new", "--cases", str(tmp_path / "scans"), *given, "-o", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
    assert "has no reader 9" in refused(capsys, "token", str(folder), "--reader", "9")
    for command in ("serve", "status"):
        assert "expected the folder of a reader study" in refused(capsys, command, str(tmp_path))
    assert "--certificate and --key together" in refused(capsys, "serve", str(folder), "--certificate", "a.pem")
    assert "b.pem: no such file" in refused(
        capsys, "serve", str(folder), "--certificate", str(folder / "study.db"), "--key", "b.pem"
    )
    assert "cannot be listened on" in refused(capsys, "serve", str(folder), "--host", "203.0.113.7", "--port", "0")


def test_a_package_that_misses_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = make_study(tmp_path)
    monkeypatch.setitem(sys.modules, "monai_nce.study.server", None)
    assert 'is not installed: pip install "monai-nce[study]"' in refused(capsys, "serve", str(folder))


def test_whoever_serves_to_a_network_is_warned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = make_study(tmp_path)
    asked: list[tuple[str, ...]] = []

    def answer(study: Study, taken: object, hosts: tuple[str, ...], certificate: str | None, key: str | None) -> None:
        asked.append(hosts)

    monkeypatch.setattr("monai_nce.study.server.serve", answer)
    assert main(["study", "serve", str(folder), "--host", "0.0.0.0", "--port", "0", "--name", "ward7"]) == 0
    said = capsys.readouterr()
    assert re.match(
        r"WARNING: whoever reaches 0\.0\.0\.0:\d+ can open .* in the clear: give --certificate\.\n", said.err
    )
    assert asked == [("127.0.0.1", "localhost", "::1", "0.0.0.0", "ward7")]
    assert main(["study", "serve", str(folder), "--port", "0"]) == 0
    assert not capsys.readouterr().err


def test_grades_are_analysed_and_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = make_study(tmp_path, readers=1)
    study = Study(folder)
    assert "nothing is graded yet" in refused(capsys, "analyse", str(folder), "-o", str(tmp_path / "out"))
    now = study.place(1).now
    assert now
    grade = {"quality": 2, "artefact": 3, "looks_real": None, "comment": "", "marks": [], "seconds": 1}
    study.keep_grade(1, now, grade)
    assert main(["study", "analyse", str(folder), "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert said.err == "WARNING: reader 1 has graded 1 of 8\n"
    assert "mean 2.00 of 1 grades" in said.out and said.out.endswith("analysis.json. Research use only.\n")
    assert "1 grades. Research use only." in run(capsys, "export", str(folder), "-o", str(tmp_path / "a.csv"))
