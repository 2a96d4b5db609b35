"""OpenVINO on a CPU."""

from __future__ import annotations

import threading
from pathlib import Path

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
        self._thread = threading.local()

    def __call__(self, stacks: torch.Tensor) -> torch.Tensor:
        if not hasattr(self._thread, "request"):
            self._thread.request = self._model.create_infer_request()
        result = self._thread.request.infer({0: stacks.detach().contiguous().numpy()})
        return torch.from_numpy(result[0].copy())  # the request's memory is used again
