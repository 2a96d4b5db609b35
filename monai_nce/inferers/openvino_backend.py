"""Run an exported network with OpenVINO on a CPU."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import torch

__all__ = ["OpenVinoBackend", "import_openvino"]

MOST_SIZES = 4  # each keeps the weights as OpenVINO lays them out


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which would tell Google Analytics that it was imported."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # not found: OpenVINO has a stub for that
    import openvino

    return openvino


class OpenVinoBackend:
    """Run an exported network with OpenVINO; stacks and output are ``(B, C, H, W)``, float32.

    It is compiled for each in-plane size that comes, as OpenVINO is faster with all sizes known and rounds less.

    Args:
        path: of the ONNX file.
        stacks: an input of the size that it is compiled for at once.
        batch_size: stacks of a pass. Fewer are filled up, more are split.
        precision: ``fp32`` or ``bf16``.
    """

    threads = sharing = 1  # it has threads of its own

    def __init__(self, path: Path, stacks: torch.Tensor, batch_size: int = 1, precision: str = "fp32") -> None:
        self.batch_size = batch_size
        self._core = import_openvino().Core()
        self._network = self._core.read_model(path)
        self._settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": {"fp32": "f32"}.get(precision, precision),
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._compiled: OrderedDict[tuple[int, ...], tuple[Any, deque[Any]]] = OrderedDict()
        self._lock = threading.Lock()
        model, _ = self._for(stacks)
        self.workers = int(model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    def _for(self, stacks: torch.Tensor) -> tuple[Any, deque[Any]]:
        """Return the compiled network for a size, and its idle requests."""
        size = tuple(stacks.shape[1:])
        with self._lock:
            if size not in self._compiled:
                self._network.reshape([self.batch_size, *size])
                self._compiled[size] = self._core.compile_model(self._network, "CPU", self._settings), deque()
            self._compiled.move_to_end(size)
            if len(self._compiled) > MOST_SIZES:
                self._compiled.popitem(last=False)
            return self._compiled[size]

    def __call__(self, stacks: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._pass(part) for part in stacks.detach().split(self.batch_size)])

    def _pass(self, stacks: torch.Tensor) -> torch.Tensor:
        model, idle = self._for(stacks)
        count = len(stacks)
        if count < self.batch_size:
            stacks = torch.cat([stacks, stacks[-1:].expand(self.batch_size - count, -1, -1, -1)])
        try:
            request = idle.pop()
        except IndexError:
            request = model.create_infer_request()
        result = request.infer({0: stacks.contiguous().numpy()})
        output = torch.from_numpy(result[0][:count].copy())
        idle.append(request)  # its memory is used again
        return output
