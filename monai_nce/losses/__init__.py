"""Compute the losses of the paper, Equations 1 to 5, and options beside them."""

from .adversarial import ThreeClassAdversarialLoss
from .histogram_tie import HistogramTie
from .perceptual import PerceptualLoss
from .reconstruction import ReconstructionLoss
from .registration import RegistrationLoss

__all__ = ["HistogramTie", "PerceptualLoss", "ReconstructionLoss", "RegistrationLoss", "ThreeClassAdversarialLoss"]
