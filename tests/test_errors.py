from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
import torch

import monai_nce
from monai_nce.errors import InputError, fault_text, find_input_error, one_line_errors


def error_raised_by(function) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: B017, PT011
        function()
    return caught.value


@pytest.fixture
def bundle_program(monkeypatch):
    """As if this were ``python -m monai.bundle``; returns the hook that is set, and takes it away again."""

    def start(name: str = "monai.bundle.__main__"):
        main = ModuleType("__main__")
        main.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, "__main__", main)
        monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
        one_line_errors()
        return sys.excepthook

    return start


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("scan.nii.gz: not a scan", "scan.nii.gz: not a scan"),
        ("two\nlines", "two lines"),
        ("  a\t tab \r\n and  more ", "a tab and more"),
        ("", ""),
    ],
)
def test_the_message_is_one_line(given, shown):
    assert str(InputError(given)) == shown


def test_it_is_a_value_error():
    """So that who knows nothing of this project can catch it."""
    with pytest.raises(ValueError, match="^folder: empty$"):
        raise InputError("folder:\n  empty")


def test_a_message_that_is_another_error():
    assert str(InputError(OSError("no\nspace"))) == "no space"


def direct():
    raise InputError("scan.nii.gz: not\na scan")


def chained():
    try:
        direct()
    except InputError as error:
        raise RuntimeError("applying transform LoadImaged") from error


def chained_twice():
    try:
        chained()
    except RuntimeError as error:
        raise KeyError("loader") from error


def during_the_handling():
    try:
        direct()
    finally:
        raise RuntimeError("closing")  # noqa: B012


@pytest.mark.parametrize("fault", [direct, chained, chained_twice, during_the_handling])
def test_an_input_error_is_shown_in_one_line_wherever_it_stands(fault, bundle_program, capsys):
    hook = bundle_program()
    error = error_raised_by(fault)
    hook(type(error), error, error.__traceback__)
    shown = capsys.readouterr()
    assert shown.err == "error: scan.nii.gz: not a scan\n"
    assert shown.out == ""


def test_any_other_error_keeps_its_traceback(bundle_program, capsys):
    hook = bundle_program()
    error = error_raised_by(lambda: [][0])
    hook(type(error), error, error.__traceback__)
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback") and "IndexError: list index out of range" in shown


@pytest.mark.parametrize("name", ["pytest.__main__", "monai_nce.tool", "monai"])
def test_other_programs_are_left_alone(name, bundle_program):
    assert bundle_program(name) is sys.__excepthook__


def test_a_program_without_a_spec_is_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    one_line_errors()
    assert sys.excepthook is sys.__excepthook__


def test_no_main_module_at_all(monkeypatch):
    monkeypatch.delitem(sys.modules, "__main__")
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    one_line_errors()
    assert sys.excepthook is sys.__excepthook__


@pytest.mark.parametrize(
    ("fault", "status", "shown"),
    [
        ("InputError('a: b')", 1, r"error: a: b\n"),
        ("OSError('disk')", 1, r"Traceback.*OSError: disk\n"),
        ("KeyboardInterrupt", -signal.SIGINT, r"interrupted\n"),  # which shells call 130
    ],
)
def test_how_the_program_ends(fault, status, shown):
    program = f"""
        import sys
        from importlib.machinery import ModuleSpec
        sys.modules["__main__"].__spec__ = ModuleSpec("monai.bundle.__main__", None)
        from monai_nce.errors import InputError, fault_text, one_line_errors
        one_line_errors()
        raise {fault}
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=Path(monai_nce.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == status
    assert ended.stdout == ""
    assert re.fullmatch(shown, ended.stderr, re.DOTALL)


def wrapped(error: Exception) -> Exception:
    """As MONAI wraps what a transform raises."""
    outer = RuntimeError("applying transform <of JOHN DOE>")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InputError("a.nii: holds no voxels"), "a.nii: holds no voxels"),
        (wrapped(InputError("a.nii: holds no voxels")), "a.nii: holds no voxels"),
        (KeyError("DOE"), "an unexpected KeyError while it was read"),
        (wrapped(KeyError("DOE")), "an unexpected KeyError while it was read"),
        (MemoryError(), "not enough memory while it was read"),
        (wrapped(torch.OutOfMemoryError("CUDA")), "not enough memory while it was read"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
            "not enough memory while it was read",
        ),
    ],
)
def test_a_fault_is_told_in_a_line_without_patient_data(error, text):
    assert fault_text(error, "read") == text


def test_an_error_that_is_raised_again_out_of_its_own_cause_is_told() -> None:
    first = KeyError("DOE")
    first.__context__ = ValueError("DOE")
    first.__context__.__cause__ = first
    assert find_input_error(first) is None
    assert fault_text(first, "read") == "an unexpected ValueError while it was read"
    first.__context__.__context__ = None
    refused = InputError("a.nii: holds no voxels")
    refused.__context__, first.__context__.__cause__ = first, refused
    assert find_input_error(first) is refused and fault_text(first, "read") == "a.nii: holds no voxels"
