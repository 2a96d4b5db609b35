"""Transform volumes: HU window and back, resampling, slice stacks, the simulated misalignment of §4.4."""

from .affine_distortion import AffineDistortion, AffineDistortiond, distortion_matrix
from .body_mask import SKIN_HU, body_mask
from .carry import CarryHU, CarryHUd
from .in_plane_spacing import InPlaneSpacingd
from .mri_intensity import FULL_SCALE, full_scale, scale_intensity
from .resampling import resample_axis
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
    "SKIN_HU",
    "AffineDistortion",
    "AffineDistortiond",
    "CarryHU",
    "CarryHUd",
    "FULL_SCALE",
    "InPlaneSpacingd",
    "SliceStack",
    "SliceStackd",
    "StackMean",
    "WindowHU",
    "WindowHUd",
    "body_mask",
    "distortion_matrix",
    "full_scale",
    "merge_slice_stacks",
    "resample_axis",
    "scale_intensity",
    "slice_stacks",
    "stack_centres",
    "stack_positions",
]
