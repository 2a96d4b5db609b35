"""The one exception that means: what was given is wrong, and the message says what and where."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """A file, folder, checkpoint or setting that cannot be used.

    Its message is one line that names the thing and what is wrong with it; command lines print that line and exit
    non-zero instead of showing a traceback. It never contains patient data.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).split()))
