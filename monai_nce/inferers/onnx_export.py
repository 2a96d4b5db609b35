"""Export a network to an ONNX file and find it again by its weights."""

from __future__ import annotations

import copy
import glob
import hashlib
import logging
import os
import warnings
from pathlib import Path

import torch
from torch import nn

from monai_nce.data.files.atomic import atomic_path, locked
from monai_nce.errors import InputError

__all__ = ["exported_network", "find_export", "network_key"]

FORMAT = 1  # counted up when this file exports another graph of the same network


def network_key(network: nn.Module) -> str:
    """Hash a network's weights and settings to 16 hexadecimal digits, whatever its device and memory format."""
    digest = hashlib.sha256(f"{FORMAT}".encode())
    for name, module in network.named_modules():
        plain = {k: v for k, v in vars(module).items() if isinstance(v, (bool, int, float, str, tuple))}
        plain.pop("training", None)
        digest.update(f"{name} {type(module).__qualname__} {sorted(plain.items())}".encode())
    for name, value in network.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().float().numpy().tobytes())  # in the order of its axes, not of its memory
    return digest.hexdigest()[:16]


def find_export(network: nn.Module, checkpoint: Path | None = None) -> Path | None:
    """Return the ONNX file that :func:`exported_network` has written for these weights, if there is one."""
    name = _file_name(network, checkpoint)
    return next((folder / name for folder in _folders(checkpoint) if (folder / name).is_file()), None)


def exported_network(
    network: nn.Module, stacks: torch.Tensor, checkpoint: Path | None = None, again: bool = False
) -> Path:
    """Return the ONNX file of a network, for batches and images of any size that it can take; write it if missing.

    It lies beside the checkpoint, as ``model.0123456789abcdef.onnx`` for ``model.pt``, and replaces those made from
    other weights. Where that folder cannot be written to, it lies in the user's cache folder.

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
    path = None if again else find_export(network, checkpoint)
    if path is not None:
        return path
    name = _file_name(network, checkpoint)
    folders = _folders(checkpoint)
    folder = next((folder for folder in folders if os.access(folder, os.W_OK)), folders[-1])
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):  # of several processes that need the file one makes it
            if again or not path.is_file():
                print(f"exporting the network to {path}, which is done once", flush=True)
                with atomic_path(path) as partial:
                    _export(network, stacks, partial)
                others = f"{glob.escape(name.rsplit('.', 2)[0])}.{'[0-9a-f]' * 16}.onnx"
                for old in set(folder.glob(others)) - {path}:
                    old.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or 'unknown error'}") from error
    except Exception as error:  # of many kinds: whatever the exporter makes of a network that it cannot take
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"{type(network).__name__} cannot be exported to ONNX: {said}") from error
    return path


def _file_name(network: nn.Module, checkpoint: Path | None) -> str:
    return f"{'network' if checkpoint is None else checkpoint.stem}.{network_key(network)}.onnx"


def _folders(checkpoint: Path | None) -> list[Path]:
    """Return the folders that a file may lie in: the checkpoint's, and the user's cache."""
    folders = [] if checkpoint is None else [checkpoint.parent]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        return [*folders, cache.expanduser() / "monai-nce"]
    except RuntimeError as error:  # no home
        if folders:
            return folders
        raise InputError(f"no folder for an ONNX file: {error}") from error


def _export(network: nn.Module, stacks: torch.Tensor, path: Path) -> None:
    plain = copy.deepcopy(network).float().cpu().eval()
    # two stacks: a size of one would be taken for a constant
    example = stacks[:1].detach().float().cpu().expand(2, -1, -1, -1).contiguous()
    dynamic = {0: torch.export.Dim("batch"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own parts about each other
            program = torch.onnx.export(
                plain,
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
