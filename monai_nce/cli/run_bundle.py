"""Run a workflow of the bundle as ``python -m monai.bundle run`` does, so that ``nce`` is no second path."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from typer import Exit

from monai_nce.bundle_folder import bundle_folder
from monai_nce.errors import INCOMPLETE, INTERRUPTED, InputError

__all__ = [
    "bundle_command",
    "bundle_folder",
    "choose_output",
    "count_cores",
    "run_command",
    "run_side_by_side",
    "run_steps",
    "share_cores",
]

MONAI, PROGRAM = "monai.bundle", "monai_nce.cli.program"


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
    command = [sys.executable, *launcher, "-m", MONAI, "run", workflow]
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
    command = _as_nce(command)
    if os.name == "posix":
        os.execv(command[0], command)
    raise Exit(subprocess.run(command).returncode)


def run_steps(commands: Iterable[Sequence[str]], dry_run: bool = False) -> None:
    """Run one program after the other, up to the first that fails.

    Raises:
        Exit: with its status.
    """
    for command in commands:
        if dry_run:
            print(shlex.join(command))
        elif (status := _wait_for([subprocess.Popen(_as_nce(command))])) != 0:
            raise Exit(status)


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
    share_cores(processes)
    raise Exit(_wait_for([subprocess.Popen(_as_nce(command), env={**os.environ, **rank}) for rank in ranks]))


def share_cores(processes: int) -> None:
    """Give each of several processes its part of the cores, unless their number of threads is set."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, count_cores() // processes)))


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_output(quiet: bool, as_json: bool, go_on: str | None = None) -> None:
    """Tell the programs that are started what to show, and how interrupted work goes on.

    Args:
        quiet: results, warnings and errors alone.
        as_json: an object a line.
        go_on: flag by which the same command goes on; empty where it does without.

    Raises:
        InputError: if both kinds of output are asked for.
    """
    from monai_nce import terminal

    if quiet and as_json:
        raise InputError("--quiet, --json: expected one of them")
    if quiet or as_json:
        os.environ[terminal.OUTPUT] = terminal.QUIET if quiet else terminal.JSON
    if go_on is not None and len(sys.argv) > 1:
        command, *typed = sys.argv[1:]
        typed = [word for word in typed if word not in (go_on, "--overwrite")]
        os.environ[terminal.GO_ON] = shlex.join(["nce", command, *filter(None, [go_on]), *typed])


def _as_nce(command: Sequence[str]) -> list[str]:
    """Replace MONAI's program by the same with the manners of ``nce``."""
    words = list(command)
    if MONAI in words[:7]:  # behind Python's and torchrun's own
        words[words.index(MONAI)] = PROGRAM
    return words


def _wait_for(running: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for processes, and sum their exit statuses up in one."""
    try:
        statuses = [process.wait() for process in running]
    except KeyboardInterrupt:  # they were interrupted as well, and end by themselves
        for process in running:
            process.wait()
        raise Exit(INTERRUPTED) from None
    finally:
        for process in running:
            process.terminate()
    faults = [status for status in statuses if status not in (0, INCOMPLETE)]
    status = faults[0] if faults else max(statuses)
    return status if status >= 0 else 128 - status
