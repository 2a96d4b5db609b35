"""OpenVINO on a CPU."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import torch

__all__ = ["OpenVinoBackend"]

HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoBackend:
    """An exported network as OpenVINO runs it.

    Args:
        path: of the ONNX file.
        precision: ``fp32`` or ``bf16``.

    Shape:
        - stacks and output: ``(B, C, H, W)``, float32
    """

    threads = 1  # it has its own

    def __init__(self, path: Path, precision: str = "fp32") -> None:
        import openvino

        core = openvino.Core()
        self._model = core.compile_model(
            core.read_model(path),
            "CPU",
            {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "INFERENCE_PRECISION_HINT": HINTS[precision],
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            },
        )
        self.workers = int(self._model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._idle: deque[Any] = deque()

    def __call__(self, stacks: torch.Tensor) -> torch.Tensor:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        result = request.infer({0: stacks.detach().contiguous().numpy()})
        output = torch.from_numpy(result[0].copy())
        self._idle.append(request)  # its memory is used again
        return output
