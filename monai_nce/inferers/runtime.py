"""What computes a network's forward passes at inference: PyTorch, ONNX Runtime or OpenVINO."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from monai_nce.errors import InputError
from monai_nce.precision import DTYPES, best_precision

from .onnx_export import exported_network, network_key
from .onnxruntime_backend import OnnxRuntimeBackend
from .openvino_backend import OpenVinoBackend
from .torch_backend import EIGHT_BITS, TorchBackend, can_use_eight_bits, gains_from_eight_bits

__all__ = ["BACKENDS", "Backend", "Runtime"]

BACKENDS = ("torch", "onnxruntime", "openvino")
PRECISIONS = (*DTYPES, EIGHT_BITS)
EXPORTERS = ("onnx", "onnxscript")
MANY_WEIGHTS = 1_000_000  # of a layer; with one, 8 bits gain more than OpenVINO does


class Backend(Protocol):
    """A network made ready, to be called by as many ``workers`` at once, each with so many ``threads`` of PyTorch."""

    workers: int
    threads: int
    sharing: int  # workers that get equally many batches: one where batches are filled up, so that more would cost more

    def __call__(self, stacks: torch.Tensor) -> torch.Tensor:
        """Synthetic stacks, float32, for stacks ``(B, C, H, W)``; both on the network's device."""
        ...


class Runtime:
    """Choose a backend for a network, make it ready once, and check that it computes what the network does.

    ``onnxruntime`` and ``openvino`` run on CPUs. They take the network from an ONNX file that is written once, beside
    the checkpoint, and again when the weights change. Whatever the backend, the first stack is computed by the network
    itself in fp32 as well; a backend that is off by more than ``tolerance`` on average is refused.

    Args:
        backend: ``torch``, ``onnxruntime`` or ``openvino``; ``auto`` takes OpenVINO on a CPU where it is installed (the
            extra ``openvino``), else PyTorch; but PyTorch for large networks where it is to take ``int8``.
        precision: ``fp32``, ``bf16``, ``fp16`` (GPUs alone) or ``int8`` (PyTorch on CPUs alone: half of gamma and beta
            and what is coarse in 8 bits, all else in the short format that the device is fast in); ``auto`` takes the
            fastest.
        checkpoint: file of the weights, for the folder and the name of the ONNX file; None, or a folder that cannot be
            written to, puts it in the user's cache folder.
        tolerance: mean absolute difference of intensities that is accepted; 2 over the window's width in HU is 1 HU.

    Raises:
        InputError: for an unknown name.
    """

    def __init__(
        self,
        backend: str = "auto",
        precision: str = "auto",
        checkpoint: str | PathLike[str] | None = None,
        tolerance: float = 1 / 150,
    ) -> None:
        for name, value, known in (("backend", backend, BACKENDS), ("precision", precision, PRECISIONS)):
            if value not in ("auto", *known):
                raise InputError(f"{name}: expected auto, {', '.join(known)} but got {value!r}")
        self.backend = backend
        self.precision = precision
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.tolerance = tolerance
        self._state: tuple[Any, ...] = ()
        self._key: tuple[str, torch.device, int] | None = None
        self._ready: Backend | None = None

    def prepare(self, network: Callable[..., torch.Tensor], stacks: torch.Tensor, batch_size: int = 1) -> Backend:
        """Make a network ready, or take what was made ready before if its weights are still the same.

        Args:
            network: a :class:`torch.nn.Module`; under DistributedDataParallel the network inside is taken.
            stacks: real input to check with, ``(1, C, H, W)``, on the network's device.
            batch_size: stacks of a pass, what some backends are fastest with; others work too.

        Returns:
            The backend.

        Raises:
            InputError: when the backend asked for is not installed, cannot run on this device or in this precision, or
                computes something else than the network. ``auto`` then tries the next, at last PyTorch, with a warning.
        """
        if not isinstance(network, nn.Module):
            raise TypeError(f"expected a network, a torch.nn.Module, but got {type(network).__name__}")
        bare = getattr(network, "module", network)
        state = (batch_size, id(bare), *((value.data_ptr(), value._version) for value in bare.state_dict().values()))
        if self._ready is None or state != self._state:
            choices = self._choices(bare, stacks.device)
            # the weights were touched, which loading them again does too
            key = (network_key(bare), stacks.device, batch_size)
            if self._ready is None or key != self._key:
                self._ready, self._key = self._make(bare, stacks, batch_size, choices), key
            self._state = state
        return self._ready

    def _make(
        self, network: nn.Module, stacks: torch.Tensor, batch_size: int, choices: list[tuple[str, str]]
    ) -> Backend:
        (backend, precision), *rest = choices
        try:
            ready = self._checked(network, stacks, batch_size, backend, precision)
        except InputError as error:
            if not rest:
                raise
            warnings.warn(f"{error}; {' in '.join(rest[0])} takes over", stacklevel=4)
            return self._make(network, stacks, batch_size, rest)
        print(f"forward passes by {backend} in {precision}", flush=True)
        return ready

    def _choices(self, network: nn.Module, where: torch.device) -> list[tuple[str, str]]:
        """Backends with number formats that fit what was asked for, in the order to try them in."""
        if self.backend != "auto":
            return [(self.backend, precision) for precision in self._precisions(self.backend, network, where)]
        choices = [("torch", precision) for precision in self._precisions("torch", network, where)]
        if where.type == "cpu" and self.precision != EIGHT_BITS and _installed("openvino", *EXPORTERS):
            large = any(parameter.numel() >= MANY_WEIGHTS for parameter in network.parameters())
            before = 1 if large and choices[0] == ("torch", EIGHT_BITS) else 0
            choices[before:before] = (("openvino", p) for p in self._precisions("openvino", network, where))
        return choices

    def _precisions(self, backend: str, network: nn.Module, where: torch.device) -> list[str]:
        """Number formats to try with a backend, the fastest first."""
        device = where.type
        if backend != "torch":
            if device != "cpu":
                raise InputError(f"backend: {backend} runs on a CPU here but the device is {device}; take torch")
            if not _installed(backend, *EXPORTERS):
                raise InputError(f"backend: {backend} is not installed: pip install 'monai-nce[{backend}]'")
        if self.precision == "auto":
            if backend != "torch":
                return ["fp32" if backend == "onnxruntime" else best_precision(device)]
            first = [EIGHT_BITS] if gains_from_eight_bits(network, where) else []
            return list(dict.fromkeys([*first, best_precision(device), "fp32"]))
        allowed = ["fp32"] if backend == "onnxruntime" else list(DTYPES) if device == "cuda" else ["fp32", "bf16"]
        if backend == "torch" and can_use_eight_bits(network, where):
            allowed.append(EIGHT_BITS)
        if self.precision not in allowed:
            known = ", ".join(allowed)
            raise InputError(f"precision: expected {known} with {backend} on {device} but got {self.precision!r}")
        return [self.precision]

    def _checked(
        self, network: nn.Module, stacks: torch.Tensor, batch_size: int, backend: str, precision: str
    ) -> Backend:
        """The backend, compared with the network on ``stacks``."""
        if backend == "torch":
            try:
                ready: Backend = TorchBackend(network, stacks.device, precision)
                wrong = self._difference(network, ready, stacks)
            except Exception as error:  # of many kinds: the operations on bytes are not public ones
                if precision != EIGHT_BITS:
                    raise
                raise InputError(f"{backend} in {precision} cannot run it: {error}") from error
        else:
            for fresh in (False, True):
                path = exported_network(network, stacks, self.checkpoint, again=fresh)
                try:
                    ready = self._open(path, stacks, batch_size, backend, precision)
                    wrong = self._difference(network, ready, stacks)
                    if (
                        wrong <= self.tolerance
                        or precision != "fp32"
                        and self._is_intact(path, network, stacks, backend)
                    ):
                        break
                except Exception as error:  # of many kinds: what a damaged file leads to
                    if fresh:
                        raise InputError(f"{path}: {backend} cannot run it: {error}") from error
        if not wrong <= self.tolerance:
            raise InputError(
                f"{backend} in {precision} is off by {wrong:.4f} on average, in intensities of [-1, 1], where at most "
                f"{self.tolerance:.4f} is accepted"
            )
        return ready

    @staticmethod
    def _open(path: Path, stacks: torch.Tensor, batch_size: int, backend: str, precision: str) -> Backend:
        if backend == "openvino":
            return OpenVinoBackend(path, stacks, batch_size, precision)
        return OnnxRuntimeBackend(path)

    def _is_intact(self, path: Path, network: nn.Module, stacks: torch.Tensor, backend: str) -> bool:
        """Whether an exported file is right in fp32, so that another one would be no better in a short format."""
        return self._difference(network, self._open(path, stacks, 1, backend, "fp32"), stacks) <= self.tolerance

    @staticmethod
    def _difference(network: nn.Module, backend: Backend, stacks: torch.Tensor) -> float:
        training = network.training
        network.eval()
        with torch.inference_mode():
            expected = network(stacks).float()
        network.train(training)
        got = backend(stacks).float()
        return float((got - expected).abs().mean()) if got.shape == expected.shape else float("nan")


def _installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)
