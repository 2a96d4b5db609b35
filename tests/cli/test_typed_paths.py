from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from monai_nce.cli.run_bundle import bundle_command
from monai_nce.cli.typed_paths import typed_inputs, typed_path
from monai_nce.command_line import read_flags
from monai_nce.data.scans.inference_items import _inputs
from monai_nce.errors import InputError

SIGNS = st.text("ab1 #,.()[]{}'\"@$%:\\_-=*?!~\u00e4", min_size=1, max_size=9)
NAMES = SIGNS.filter(lambda name: name not in (".", ".."))
ODD = ["p #2", "['a','b']", "--x", "@a", "$b", "%c", "[1]", "True", "None", "a@#b", "a%::b", "*", "-", "{[1]: 2}"]


def arrives(**typed: str) -> dict[str, str]:
    """Texts as the bundle reads them from the command line that ``nce`` composes."""
    command = bundle_command("inferring", ["inference.json"], typed)
    return read_flags(command[command.index("run") :])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(NAMES, st.sampled_from(ODD)), min_size=1, max_size=3, unique=True))
@example(["['a', 'b']"])
@example(["a", "b", "['a', 'b']"])
def test_inputs_arrive_as_the_files_that_they_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in names:
        Path(name).touch()
    arrived = list(_inputs(arrives(input=typed_inputs(names))["input"]))
    assert arrived == [Path(name) for name in names]


def test_patterns_arrive_as_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a1", "a2", "[b", "@c#d"):
        Path(name).touch()
    assert typed_inputs(["a*"]) == "a*"
    for pattern, fits in (("[[]b", ["[b"]), ("@c*", ["@c#d"])):
        assert list(_inputs(arrives(input=typed_inputs([pattern]))["input"])) == [Path(fit) for fit in fits]
    assert len(_inputs(arrives(input=typed_inputs(["a?", "[b"]))["input"])) == 3


@pytest.mark.parametrize("names", [["no"], ["there", "no*"], ["", "there"]])
def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").touch()
    with pytest.raises(InputError, match=r"^(no\*?)?: no such file or folder$"):
        typed_inputs(names)


@settings(max_examples=25, deadline=None)
@given(st.one_of(NAMES, st.sampled_from(ODD)))
def test_another_path_arrives_as_it_is(name: str) -> None:
    assume(not any(sign in name for sign in ("@#", "%#", "@::", "%::")))
    arrived = arrives(output_dir=typed_path(name))["output_dir"]
    assert os.path.normpath(arrived) == os.path.normpath(name)


def test_no_path_is_refused() -> None:
    with pytest.raises(InputError, match="^expected a path but got nothing$"):
        typed_path("")


@pytest.mark.parametrize("name", ["a@#b", "%::a"])
def test_a_name_that_monai_would_change_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected a name without @#, %#, @:: and %::, which MONAI's parser replaces"):
        typed_path(name)
