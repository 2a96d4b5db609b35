"""Dictionary transforms: HU window and back, slice stacks, the simulated misalignment of §4.4."""

from .affine_distortion import AffineDistortion, AffineDistortiond, distortion_matrix
from .body_mask import body_mask
from .carry import CarryHU, CarryHUd
from .in_plane_spacing import InPlaneSpacingd
from .slice_stack import (
    SliceStack,
    SliceStackd,
    StackMean,
    merge_slice_stacks,
    slice_stacks,
    stack_centres,
    stack_positions,
)
from .window import WindowHU, WindowHUd

__all__ = [
    "AffineDistortion",
    "AffineDistortiond",
    "CarryHU",
    "CarryHUd",
    "InPlaneSpacingd",
    "SliceStack",
    "SliceStackd",
    "StackMean",
    "WindowHU",
    "WindowHUd",
    "body_mask",
    "distortion_matrix",
    "merge_slice_stacks",
    "slice_stacks",
    "stack_centres",
    "stack_positions",
]
