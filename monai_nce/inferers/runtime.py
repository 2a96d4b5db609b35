"""Choose what computes a network's forward passes at inference, PyTorch or OpenVINO, and check its results."""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn
from torch.nn import functional
from tqdm.auto import tqdm

from monai_nce.errors import InputError
from monai_nce.precision import DTYPES, best_precision

from .onnx_export import export_network, export_path
from .openvino_backend import OpenVinoBackend
from .torch_backend import TorchBackend

__all__ = ["BACKENDS", "Backend", "Difference", "Runtime", "difference"]

BACKENDS = ("torch", "openvino")
CT_WINDOW_HU = 300.0  # the width that the tolerances below are meant for
EXPORT_PAYS_SECONDS = 60.0  # OpenVINO saves a quarter of PyTorch's time, an export takes 15 s


class Backend(Protocol):
    """Compute forward passes, for as many ``workers`` at once, each with so many ``threads`` of PyTorch."""

    workers: int
    threads: int
    sharing: int  # workers that get equally many batches: one where batches are filled up, so that more would cost more

    def __call__(self, stacks: torch.Tensor) -> torch.Tensor:
        """Return synthetic stacks, float32, for stacks ``(B, C, H, W)``; both on the network's device."""


class Difference(NamedTuple):
    """Sum up an absolute difference of images: mean, 99.9th percentile, and largest mean over 5 x 5 pixels."""

    mean: float
    p999: float
    patch: float


TOLERANCE_HU = Difference(mean=0.2, p999=2.0, patch=3.0)


def difference(expected: torch.Tensor, got: torch.Tensor) -> Difference:
    """Compare two images ``(B, C, H, W)``; NaN where the shapes differ."""
    if expected.shape != got.shape:
        return Difference(*[float("nan")] * 3)
    wrong = (got.float() - expected.float()).abs()
    ranked = wrong.flatten().kthvalue(max(round(0.999 * wrong.numel()), 1)).values  # quantile() takes 16 million values
    patches = functional.avg_pool2d(wrong, [min(5, size) for size in wrong.shape[2:]], stride=1)
    return Difference(*(float(value) for value in (wrong.mean(), ranked, patches.max())))


class Runtime:
    """Choose a backend for a network, make it ready once, and check that it computes what the network does.

    Whatever the backend, some stacks are computed by the network itself in fp32 as well. A backend is refused that is
    off by more than 0.2 HU on average, 2 HU at the 99.9th percentile or 3 HU in the worst 5 x 5 pixels.

    Args:
        backend: ``torch``, or ``openvino`` on a CPU, which takes the network from an ONNX file beside the checkpoint.
            ``auto`` takes OpenVINO on a CPU where that file is there already, or where PyTorch would compute for more
            than a minute in this run; else PyTorch.
        precision: ``fp32``, ``bf16``, or ``fp16`` on GPUs; ``auto`` takes the fastest.
        checkpoint: file of the weights, for the folder and the name of the ONNX file.
        window_width: of intensities of [-1, 1], in HU; the default makes the tolerances the same parts of any window.
        volumes: that this run will compute, for ``auto`` to see whether an export pays.
        quiet: do not print what was chosen.

    Raises:
        InputError: for an unknown name.
    """

    def __init__(
        self,
        backend: str = "auto",
        precision: str = "auto",
        checkpoint: str | PathLike[str] | None = None,
        window_width: float = CT_WINDOW_HU,
        volumes: int = 1,
        quiet: bool = False,
    ) -> None:
        for name, value, known in (("backend", backend, BACKENDS), ("precision", precision, DTYPES)):
            if value not in ("auto", *known):
                raise InputError(f"{name}: expected auto, {', '.join(known)} but got {value!r}")
        self.backend = backend
        self.precision = precision
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.tolerance = Difference(*(2 / window_width * hu for hu in TOLERANCE_HU))
        self.volumes = volumes
        self.quiet = quiet
        self._state: tuple[Any, ...] = ()
        self._ready: Backend | None = None
        self._chosen = ""

    def __str__(self) -> str:
        """Say what was chosen, such as "torch in bf16"; nothing before the first volume."""
        return self._chosen

    def prepare(
        self, network: Callable[..., torch.Tensor], stacks: torch.Tensor, batch_size: int = 1, total: int = 1
    ) -> Backend:
        """Make a network ready, or return what was made ready before if its weights were not touched since.

        Args:
            network: a :class:`torch.nn.Module`; under DistributedDataParallel the network inside is taken.
            stacks: real input to check with, ``(B, C, H, W)``, on the network's device.
            batch_size, total: stacks of a pass, what some backends are fastest with, and of the volume.

        Raises:
            InputError: when the backend asked for cannot run, or computes something else than the network. ``auto``
                then tries the next, at last PyTorch in fp32, with a warning.
        """
        if not isinstance(network, nn.Module):
            raise TypeError(f"expected a network, a torch.nn.Module, but got {type(network).__name__}")
        bare = getattr(network, "module", network)
        state = (batch_size, id(bare), *((value.data_ptr(), value._version) for value in bare.state_dict().values()))
        if self._ready is None or state != self._state:
            self._ready = self._make(bare, stacks, batch_size, total)
            self._state = state
        return self._ready

    def first_choice(self, network: nn.Module, stacks: torch.Tensor, total: int = 1) -> tuple[str, str, bool]:
        """Return which backend and number format :meth:`prepare` would try first, and whether it is ready to be used.

        It is not where OpenVINO's file has to be exported first.
        """
        backend, precision = self._choices(network, stacks, total)[0]
        return backend, precision, backend == "torch" or export_path(network, self.checkpoint).is_file()

    def _make(self, network: nn.Module, stacks: torch.Tensor, batch_size: int, total: int) -> Backend:
        choices = self._choices(network, stacks, total)
        training = network.training
        with torch.inference_mode():
            expected = network.eval()(stacks).float()
        network.train(training)
        while True:
            (backend, precision), *choices = choices
            try:
                if backend == "openvino":
                    ready = self._openvino(network, stacks, expected, batch_size, precision)
                else:
                    ready = TorchBackend(network, stacks.device, precision)
                    self._check(f"torch in {precision}", difference(expected, ready(stacks)))
            except InputError as error:
                if not choices:
                    raise
                warnings.warn(f"{error}; {' in '.join(choices[0])} takes over", stacklevel=4)
            else:
                self._chosen = f"{backend} in {precision}"
                if not self.quiet:
                    with tqdm.external_write_mode():  # above any progress bar
                        print(f"forward passes by {self._chosen}", flush=True)
                return ready

    def _choices(self, network: nn.Module, stacks: torch.Tensor, total: int) -> list[tuple[str, str]]:
        """Return backends with number formats that fit what was asked for, in the order to try them in."""
        device = stacks.device.type
        if self.backend == "openvino":
            if device != "cpu":
                raise InputError(f"backend: openvino runs on a CPU here but the device is {device}; take torch")
            if not _openvino_installed():
                raise InputError("backend: openvino is not installed: pip install openvino onnx onnxscript")
        allowed = tuple(DTYPES) if device == "cuda" else ("fp32", "bf16")
        if self.precision not in ("auto", *allowed):
            raise InputError(f"precision: expected {', '.join(allowed)} on {device} but got {self.precision!r}")
        short = best_precision(device) if self.precision == "auto" else self.precision
        if self.backend == "openvino":
            return [("openvino", short)]
        exact = "fp32" if self.precision == "auto" else short
        by_torch = [("torch", precision) for precision in dict.fromkeys([short, exact])]
        if self.backend == "auto" and device == "cpu" and _openvino_installed():
            cached = export_path(network, self.checkpoint).is_file()
            if cached or self._torch_seconds(network, stacks, short) * total * self.volumes > EXPORT_PAYS_SECONDS:
                return [("openvino", short), *by_torch]
        return by_torch

    @staticmethod
    def _torch_seconds(network: nn.Module, stacks: torch.Tensor, precision: str) -> float:
        """Measure the time that PyTorch takes for a stack."""
        backend = TorchBackend(network, stacks.device, precision)
        backend(stacks)  # the first pass is slower
        start = time.perf_counter()
        backend(stacks)
        return (time.perf_counter() - start) / len(stacks)

    def _openvino(
        self, network: nn.Module, stacks: torch.Tensor, expected: torch.Tensor, batch_size: int, precision: str
    ) -> Backend:
        """Return OpenVINO's backend, from a file that is written again if it turns out to be damaged."""
        path = export_path(network, self.checkpoint)
        attempts = (False, True) if path.is_file() else (False,)
        for again in attempts:
            export_network(network, stacks, path, again)
            try:
                ready = OpenVinoBackend(path, stacks, batch_size, precision)
                found = difference(expected, ready(stacks))
                if self._accepts(found):
                    break
                # where the file is right in fp32, another one would be no better in a short format
                if precision != "fp32" and self._accepts(
                    difference(expected, OpenVinoBackend(path, stacks, 1, "fp32")(stacks))
                ):
                    break
            except Exception as error:  # of many kinds: what a damaged file leads to
                if again == attempts[-1]:
                    raise InputError(f"{path}: openvino cannot run it: {error}") from error
        self._check(f"openvino in {precision}", found)
        return ready

    def _accepts(self, found: Difference) -> bool:
        return all(value <= most for value, most in zip(found, self.tolerance, strict=True))

    def _check(self, name: str, found: Difference) -> None:
        if not self._accepts(found):
            off, most = (", ".join(f"{value:.4f}" for value in values) for values in (found, self.tolerance))
            raise InputError(
                f"{name} is off by {off} (mean, 99.9th percentile, worst 5 x 5 pixels), in intensities of [-1, 1], "
                f"where at most {most} is accepted"
            )


def _openvino_installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("openvino", "onnx", "onnxscript"))
