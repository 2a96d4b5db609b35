"""A network as an ONNX file, written once and found again as long as its weights are the same."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from monai_nce.data.files.atomic import atomic_path, locked, make_folders, remove_empty
from monai_nce.errors import InputError

__all__ = ["exported_network", "network_key"]

PLAIN = (bool, int, float, str, tuple)
MOST_CACHED = 8  # files in the user's cache folder


def network_key(network: nn.Module) -> str:
    """16 hexadecimal digits that stand for a network's structure, weights and code, whatever its device.

    Its code is all that lies beside its modules' own, since what is exported may be a rearranged network.
    """
    digest = hashlib.sha256(torch.__version__.encode())
    names = {type(module).__module__ for module in network.modules()}
    files = {getattr(sys.modules.get(name), "__file__", None) for name in names if not name.startswith("torch.")}
    folders = {Path(file).parent for file in files if file}
    code = {Path(__file__), *(file for folder in folders for file in folder.glob("*.py"))}
    for content in sorted(file.read_bytes() for file in code):  # wherever it lies
        digest.update(content)
    for name, module in network.named_modules():
        # not its repr, which need not tell all that changes the forward pass
        plain = {key: value for key, value in vars(module).items() if isinstance(value, PLAIN) and key != "training"}
        digest.update(f"{name} {type(module).__qualname__} {sorted(plain.items())}".encode())
    for name, value in network.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().float().numpy().tobytes())  # in the order of its axes, not of its memory
    return digest.hexdigest()[:16]


def exported_network(
    network: nn.Module, stacks: torch.Tensor, checkpoint: Path | None = None, again: bool = False
) -> Path:
    """The ONNX file of a network, for batches of any size and images of any size that it can take.

    It lies beside the checkpoint, as ``model.0123456789abcdef.onnx`` for ``model.pt``; older ones there, made from
    other weights or by other code, are removed. Where that folder cannot be written to it lies in the user's cache
    folder, which keeps the newest ``MOST_CACHED``.

    Args:
        network: to export, in fp32; left as it is.
        stacks: an input it can take, ``(1, C, H, W)``.
        checkpoint: file of its weights, which need not exist.
        again: write the file even if it is there: it was found damaged.

    Returns:
        Path of the file.

    Raises:
        InputError: when it can be written nowhere, or the network cannot be exported.
    """
    stem = "network" if checkpoint is None else checkpoint.stem
    path = Path(f"{stem}.onnx")  # before its folder and key are known
    try:
        if checkpoint is not None and _writable(checkpoint.parent):
            folder, names, most = checkpoint.parent, f"{stem}.{'[0-9a-f]' * 16}.onnx", 1
        else:
            folder, names, most = _cache_folder(), "*.onnx", MOST_CACHED
        path = folder / f"{stem}.{network_key(network)}.onnx"
        with _held(folder):  # of several processes that need the file one makes it
            if again or not path.is_file():
                print(f"exporting the network to {path}, which is done once", flush=True)
                with atomic_path(path) as partial:
                    _export(rearranged(network), stacks, partial)
                _remove_old(path, names, most)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or 'unknown error'}") from error
    except Exception as error:  # of many kinds: whatever the exporter makes of a network that it cannot take
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"{type(network).__name__} cannot be exported to ONNX: {said}") from error
    return path


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """A folder for one process at a time, made if it is missing, and removed again if nothing came of that."""
    made = make_folders(folder)
    try:
        with locked(folder):
            yield
    finally:
        remove_empty(made)


def _remove_old(path: Path, names: str, most: int) -> None:
    """Of the files with such names beside ``path``, leave it and the newest others, ``most`` together."""
    others = sorted((old for old in path.parent.glob(names) if old != path), key=lambda old: old.stat().st_mtime_ns)
    for old in others[: len(others) - most + 1]:
        old.unlink(missing_ok=True)


def rearranged(network: nn.Module) -> nn.Module:
    """What is exported of a network: a copy on the CPU in fp32, rearranged for inference if it can do that itself."""
    plain = copy.deepcopy(network).float().cpu().eval()
    for_inference = getattr(plain, "for_inference", None)
    return plain if for_inference is None else for_inference()


def _export(ready: nn.Module, stacks: torch.Tensor, path: Path) -> None:
    # two stacks: a size of one would be taken for a constant
    example = stacks.detach().float().cpu().expand(2, -1, -1, -1).contiguous()
    dynamic = {0: torch.export.Dim("batch"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own parts about each other
            program = torch.onnx.export(
                ready,
                (example,),
                dynamo=True,
                dynamic_shapes=(dynamic,),
                input_names=["stacks"],
                output_names=["synthetic"],
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    program.save(path)  # type: ignore[union-attr]


def _writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monai-nce"
