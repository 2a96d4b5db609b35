"""Raise and print errors of the input in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import TracebackType

__all__ = [
    "FAULT",
    "INCOMPLETE",
    "INTERRUPTED",
    "WRONG_INPUT",
    "InputError",
    "error_chain",
    "fault_text",
    "find_input_error",
    "is_bundle_program",
    "one_line_errors",
]

WRONG_INPUT, INCOMPLETE, INTERRUPTED = 2, 3, 130  # exit statuses; incomplete: a fault left some volumes out

FAULT = "fault"  # key of an engine's output: why there is none


class InputError(ValueError):
    """Report a file, folder, checkpoint or setting that cannot be used.

    Its message is one line without patient data, which command lines print in place of a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).split()))


def error_chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those behind it, each once: one that is raised again out of its own makes a circle."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def find_input_error(error: BaseException | None) -> InputError | None:
    """Return the :class:`InputError` behind an exception, or None: MONAI's parser and transforms wrap exceptions."""
    return next((one for one in error_chain(error) if isinstance(one, InputError)), None)


def fault_text(error: BaseException, doing: str) -> str:
    """Say in one line without patient data what went wrong: an exception's own text could hold what a header says.

    Args:
        error: what was raised, an :class:`InputError` or one that was not expected.
        doing: what was done then, such as ``"read"``.
    """
    if cause := find_input_error(error):
        return str(cause)
    *_, error = error_chain(error)
    name = type(error).__name__
    if isinstance(error, MemoryError) or "OutOfMemory" in name or "can't allocate memory" in str(error):
        return f"not enough memory while it was {doing}"
    return f"an unexpected {name} while it was {doing}"


def is_bundle_program() -> bool:
    """Return whether this process is ``python -m monai.bundle``."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name.startswith("monai.bundle")


def one_line_errors() -> None:
    """Make ``python -m monai.bundle`` end with one line on stderr on an :class:`InputError` or Ctrl-C.

    The first entry of a bundle's run list; does nothing in any other program.
    """
    if is_bundle_program():
        sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    cause = find_input_error(error)
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif cause is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"error: {cause}", file=sys.stderr)
