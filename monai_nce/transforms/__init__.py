"""Transform volumes: HU window and back, resampling, slice stacks, masks, the simulated misalignment of §4.4."""

from .affine_distortion import AffineDistortion, distortion_matrix
from .body_mask import SKIN_HU, body_mask
from .carry import CarryHU, CarryHUd
from .in_plane_spacing import InPlaneSpacingd
from .mri_intensity import FULL_SCALE, full_scale, scale_intensity
from .registration_mask import RegistrationMask
from .resampling import resample_axis
from .slice_stack import StackMean, StackSpread, slice_stacks, stack_centres, stack_positions
from .stack_blend import StackBlend, blend_weights
from .window import WindowHU, WindowHUd

__all__ = [
    "SKIN_HU",
    "AffineDistortion",
    "CarryHU",
    "CarryHUd",
    "FULL_SCALE",
    "InPlaneSpacingd",
    "RegistrationMask",
    "StackBlend",
    "StackMean",
    "StackSpread",
    "WindowHU",
    "WindowHUd",
    "blend_weights",
    "body_mask",
    "distortion_matrix",
    "full_scale",
    "resample_axis",
    "scale_intensity",
    "slice_stacks",
    "stack_centres",
    "stack_positions",
]
