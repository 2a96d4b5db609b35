"""From a volume to slice stacks, through a network, and back."""

from .runtime import BACKENDS, Backend, Runtime
from .slice_stack_inferer import SliceStackInferer

__all__ = ["BACKENDS", "Backend", "Runtime", "SliceStackInferer"]
