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
from tqdm.auto import tqdm

from monai_nce.data.files.atomic import atomic_path, locked
from monai_nce.errors import InputError

__all__ = ["export_network", "export_path", "network_key"]

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


def export_path(network: nn.Module, checkpoint: Path | None = None) -> Path:
    """Return where a network's ONNX file lies or is to be written: beside the checkpoint, or in the user's cache.

    For ``model.pt`` it is called ``model.0123456789abcdef.onnx``.
    """
    folders = [Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "monai-nce"]
    if checkpoint is not None:
        folders.insert(0, checkpoint.parent)
    name = f"{'network' if checkpoint is None else checkpoint.stem}.{network_key(network)}.onnx"
    found = [folder for folder in folders if (folder / name).is_file()]
    writable = [folder for folder in folders if os.access(folder, os.W_OK)]
    return [*found, *writable, *folders[-1:]][0] / name


def export_network(network: nn.Module, stacks: torch.Tensor, path: Path, again: bool = False) -> None:
    """Write a network to an ONNX file, for batches and images of any size that it can take, unless it is there.

    The file replaces those made from other weights of a checkpoint of the same name.

    Args:
        network: to export, in fp32; left as it is. It can take ``stacks``, ``(B, C, H, W)``.
        path: of :func:`export_path`.
        again: write the file even if it is there: it was found damaged.

    Raises:
        InputError: when it cannot be written, or the network cannot be exported.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent):  # of several processes that need the file one makes it
            if again or not path.is_file():
                with tqdm.external_write_mode():  # above any progress bar
                    print(f"exporting the network to {path}, which is done once", flush=True)
                with atomic_path(path) as partial:
                    _export(network, stacks, partial)
                others = f"{glob.escape(path.name.rsplit('.', 2)[0])}.{'[0-9a-f]' * 16}.onnx"
                for old in set(path.parent.glob(others)) - {path}:
                    old.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or 'unknown error'}") from error
    except Exception as error:  # of many kinds: whatever the exporter makes of a network that it cannot take
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"{type(network).__name__} cannot be exported to ONNX: {said}") from error


def _export(network: nn.Module, stacks: torch.Tensor, path: Path) -> None:
    plain = copy.deepcopy(network).float().cpu().eval()
    # two stacks: a size of one would be taken for a constant
    example = stacks[:1].detach().float().cpu().expand(2, -1, -1, -1).contiguous()
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own parts about each other
            torch.onnx.export(plain, (example,), path, dynamic_shapes=(sizes,), external_data=False, verbose=False)
    finally:
        logger.setLevel(level)
