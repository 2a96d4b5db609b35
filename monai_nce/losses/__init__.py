"""Compute the losses of the paper, Equations 1 to 5."""

from .adversarial import ThreeClassAdversarialLoss
from .perceptual import PerceptualLoss
from .reconstruction import ReconstructionLoss

__all__ = ["PerceptualLoss", "ReconstructionLoss", "ThreeClassAdversarialLoss"]
