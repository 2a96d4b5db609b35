"""ONNX Runtime on a CPU."""

from __future__ import annotations

from pathlib import Path

import torch

from .torch_backend import cpu_workers

__all__ = ["OnnxRuntimeBackend"]


class OnnxRuntimeBackend:
    """An exported network as ONNX Runtime runs it, in fp32.

    Args:
        path: of the ONNX file.

    Shape:
        - stacks and output: ``(B, C, H, W)``, float32
    """

    threads = 1  # it has its own

    def __init__(self, path: Path) -> None:
        import onnxruntime

        threads = torch.get_num_threads()
        self.workers = self.sharing = cpu_workers(threads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads // self.workers
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, stacks: torch.Tensor) -> torch.Tensor:
        (output,) = self._session.run(None, {"stacks": stacks.detach().contiguous().numpy()})
        return torch.from_numpy(output)
