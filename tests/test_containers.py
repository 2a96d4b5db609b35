"""The container files, read without an engine."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.test_packaging import ROOT, tracked

FILES = sorted((ROOT / "containers").glob("*.Containerfile"))


class Instruction(NamedTuple):
    """One instruction of a container file, with its lines joined."""

    name: str
    rest: str


def instructions(file: Path) -> list[Instruction]:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line]


def stages(file: Path) -> list[list[Instruction]]:
    """The instructions of each stage, which begins with ``FROM``."""
    found: list[list[Instruction]] = []
    for one in instructions(file):
        if one.name == "FROM":
            found.append([])
        if found:
            found[-1].append(one)
    return found


def sources(file: Path) -> list[str]:
    """What a container file copies from the checkout."""
    copies = [one.rest.split() for one in instructions(file) if one.name == "COPY"]
    return [source for words in copies if not words[0].startswith("--from=") for source in words[:-1]]


def environment(stage: list[Instruction]) -> dict[str, str]:
    return dict(word.split("=", 1) for one in stage if one.name == "ENV" for word in one.rest.split())


def value(stage: list[Instruction], name: str) -> str:
    """The last instruction of a name, which is the one that counts."""
    return [one.rest for one in stage if one.name == name][-1]


def test_there_is_one_for_processors_and_one_for_gpus() -> None:
    assert [file.name for file in FILES] == ["cpu.Containerfile", "cuda.Containerfile"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
class TestContainerFile:
    def test_what_is_copied_is_tracked_and_not_ignored(self, file: Path) -> None:
        known = tracked()
        ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        assert "*" in ignore
        for source in sources(file):
            assert any(name == source or name.startswith(f"{source}/") for name in known), source
            assert f"!{source}" in ignore

    def test_the_packages_are_copied(self, file: Path) -> None:
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg", encoding="utf-8")
        mapped = [line.split("=")[1].strip() for line in setup["options"]["package_dir"].strip().splitlines()]
        assert {"monai_nce", "setup.cfg", "pyproject.toml", *mapped} <= set(sources(file))

    def test_the_tested_versions_are_installed(self, file: Path) -> None:
        build = stages(file)[0]
        assert environment(build)["PIP_CONSTRAINT"] == f"{value(build, 'WORKDIR')}/constraints.txt"

    def test_the_last_stage_takes_what_an_earlier_one_made(self, file: Path) -> None:
        *earlier, last = stages(file)
        names = {stage[0].rest.split(" AS ")[1] for stage in earlier}
        copies = [one.rest for one in last if one.name == "COPY"]
        assert copies and all(re.match(r"--from=(\w+) ", copy)[1] in names for copy in copies)  # type: ignore[index]
        assert not [one for one in last if one.name == "RUN"]
        assert last[0].rest == earlier[0][0].rest.split(" AS ")[0], "the environment points to this Python"

    def test_it_runs_as_a_user_without_rights(self, file: Path) -> None:
        user, _, group = value(stages(file)[-1], "USER").partition(":")
        assert int(user) > 0 and int(group) > 0

    def test_what_is_written_goes_to_tmp(self, file: Path) -> None:
        places = environment(stages(file)[-1])
        for name in ("HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"):
            assert Path(places[name]).is_relative_to(Path("/", "tmp"))

    def test_it_starts_nce(self, file: Path) -> None:
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg", encoding="utf-8")
        scripts = setup["options.entry_points"]["console_scripts"]
        (started,) = json.loads(value(stages(file)[-1], "ENTRYPOINT"))
        assert re.search(rf"^{started} = monai_nce", scripts, re.MULTILINE)
        folder = environment(stages(file)[-1])["PATH"].partition("/bin:")[0]
        assert f"python -m venv {folder}" in value(stages(file)[0], "RUN")

    def test_it_says_research_use_only(self, file: Path) -> None:
        assert "research use only" in value(stages(file)[-1], "LABEL")
