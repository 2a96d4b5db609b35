"""Run a workflow of the bundle as ``python -m monai.bundle run`` does, so that ``nce`` is no second path."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from typer import Exit

from monai_nce.bundle_folder import bundle_folder

__all__ = ["bundle_command", "bundle_folder", "run_command"]


def bundle_command(workflow: str, configs: Sequence[str], settings: Mapping[str, Any], processes: int = 1) -> list[str]:
    """Compose the command line that runs a workflow of the bundle.

    Args:
        workflow: ``"inferring"``, ``"training"`` or ``"evaluating"``.
        configs: names of files in the bundle's ``configs``, in their order, or paths of other files.
        settings: values by key; those that are None are left out.
        processes: started by ``torchrun`` where there are several.
    """
    folder = bundle_folder() / "configs"
    files = [str(folder / name) if (folder / name).is_file() else name for name in configs]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, "-m", "monai.bundle", "run", workflow]
    command += ["--config_file", files[0] if len(files) == 1 else repr(files)]
    for key, value in settings.items():
        if value is not None:
            command += [f"--{key}", str(value)]
    return command


def run_command(command: Sequence[str], dry_run: bool = False) -> None:
    """Become another program, or print its command line if ``dry_run``; what it returns is the exit status of ``nce``.

    Raises:
        Exit: where a process cannot become another program, with its status.
    """
    if dry_run:
        print(shlex.join(command))
        return
    sys.stdout.flush()
    if os.name == "posix":
        os.execv(command[0], list(command))
    raise Exit(subprocess.run(command).returncode)
