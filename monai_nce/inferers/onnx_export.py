"""A network as an ONNX file, written once and found again as long as its weights are the same."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import warnings
from pathlib import Path

import torch
from torch import nn

from monai_nce.data import atomic_path
from monai_nce.errors import InputError

__all__ = ["exported_network", "network_key"]

FORMAT = 4  # of the file and its key; to be raised when what is exported changes
PLAIN = (bool, int, float, str, tuple)


def network_key(network: nn.Module) -> str:
    """16 hexadecimal digits that stand for a network's structure and weights, whatever its device."""
    digest = hashlib.sha256(f"{FORMAT} {torch.__version__}".encode())
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
    other weights, are removed. Where that folder cannot be written to it lies in the user's cache folder.

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
    key = network_key(network)
    stem = "network" if checkpoint is None else checkpoint.stem
    folder = _cache_folder() if checkpoint is None or not _writable(checkpoint.parent) else checkpoint.parent
    path = folder / f"{stem}.{key}.onnx"
    if path.is_file() and not again:
        return path
    print(f"exporting the network to {path}, which is done once", flush=True)
    try:
        with atomic_path(path) as partial:
            _export(network, stacks, partial)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or 'unknown error'}") from error
    except Exception as error:  # of many kinds: whatever the exporter makes of a network that it cannot take
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"{type(network).__name__} cannot be exported to ONNX: {said}") from error
    if checkpoint is not None and folder == checkpoint.parent:
        for old in folder.glob(f"{stem}.{'[0-9a-f]' * len(key)}.onnx"):
            if old != path:
                old.unlink(missing_ok=True)
    return path


def _export(network: nn.Module, stacks: torch.Tensor, path: Path) -> None:
    # two stacks: a size of one would be taken for a constant
    example = stacks.detach().float().cpu().expand(2, -1, -1, -1).contiguous()
    dynamic = {0: torch.export.Dim("batch"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    plain = copy.deepcopy(network).float().cpu().eval()
    rearrange = getattr(plain, "for_inference", None)
    if rearrange is not None:
        plain = rearrange(example)
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


def _writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monai-nce"
