"""Predict a volume from its slice stacks, by PyTorch or OpenVINO."""

from .runtime import BACKENDS, Backend, Difference, Runtime, difference
from .slice_stack_inferer import SliceStackInferer

__all__ = ["BACKENDS", "Backend", "Difference", "Runtime", "SliceStackInferer", "difference"]
