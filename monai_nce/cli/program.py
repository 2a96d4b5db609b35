"""Run ``python -m monai.bundle`` for ``nce``: without what MONAI tells about itself, with ``nce``'s exit statuses."""

from __future__ import annotations

import logging
import os
import re
import runpy
import sys
import warnings

from monai_nce.errors import INTERRUPTED, WRONG_INPUT, find_input_error
from monai_nce.terminal import go_on, tell_event, use_output

__all__ = ["main", "spelt"]

OPTIONS = {"output_dir": "-o", "checkpoint": "--weights", "output_format": "--format", "dataset_dir": "--data"}


def main() -> int:
    """Run the command line of this process, and return its exit status."""
    logging.disable(logging.INFO)
    warnings.filterwarnings("ignore", message="parsing config_file")
    use_output()
    try:
        runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            print(f"interrupted; {go_on('the same command')}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if (cause := find_input_error(error)) is None:
            raise
        text = spelt(str(cause))
        tell_event("error", message=text)
        print(f"error: {text}", file=sys.stderr)
        return WRONG_INPUT
    return 0


def spelt(text: str) -> str:
    """Spell the bundle's flags in a message as ``nce`` does.

    >>> spelt("--skip_existing True goes on; choose another --output_dir")
    '--skip-existing goes on; choose another -o'
    """
    text = re.sub(r"--([a-z_]+) True\b", lambda found: f"--{found[1].replace('_', '-')}", text)
    return re.sub(r"--([a-z_]+)", lambda found: OPTIONS.get(found[1], found[0]), text)


if __name__ == "__main__":
    sys.exit(main())
