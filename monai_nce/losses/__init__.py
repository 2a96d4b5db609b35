"""Compute the losses of the paper, Equations 1 to 5, and options beside them."""

from .adversarial import ThreeClassAdversarialLoss
from .histogram_tie import HistogramTie
from .perceptual import PerceptualLoss
from .reconstruction import ReconstructionLoss

__all__ = ["HistogramTie", "PerceptualLoss", "ReconstructionLoss", "ThreeClassAdversarialLoss"]
