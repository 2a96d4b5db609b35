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

__all__ = ["bundle_command", "bundle_folder", "run_command", "run_side_by_side"]

LEFT_OUT = 3  # exit status of an inference that left a volume out


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
            text = str(value)
            command += [f"--{key}={text}"] if text.startswith("-") else [f"--{key}", text]
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


def run_side_by_side(command: Sequence[str], processes: int, dry_run: bool = False) -> None:
    """Start a program several times, numbered as ``torchrun`` does, for work that they share without a word.

    Unlike ``torchrun`` it lets all of them end, and keeps their exit statuses apart: the first that is a fault counts,
    else that volumes were left out.

    Raises:
        Exit: with that status.
    """
    if processes == 1:
        return run_command(command, dry_run)
    count = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank), **count} for rank in range(processes)]
    if dry_run:
        for rank in ranks:
            print(shlex.join(["env", *(f"{key}={value}" for key, value in rank.items()), *command]))
        return None
    sys.stdout.flush()
    threads = {"OMP_NUM_THREADS": str(max(1, _cores() // processes)), **os.environ}
    running = [subprocess.Popen(command, env={**threads, **rank}) for rank in ranks]
    try:
        statuses = [process.wait() for process in running]
    finally:  # Ctrl-C reaches them too, another signal does not
        for process in running:
            process.terminate()
    raise Exit(next((status for status in statuses if status not in (0, LEFT_OUT)), max(statuses)))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
