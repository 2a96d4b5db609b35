"""From a volume to slice stacks, through a network, and back."""

from .slice_stack_inferer import SliceStackInferer

__all__ = ["SliceStackInferer"]
