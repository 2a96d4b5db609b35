"""What Ignite and MONAI do not have for this method: its adversarial trainers and the batches of the other stages."""

from .adversarial_trainer import ThreeClassAdversarialTrainer
from .alternating_trainer import AlternatingTrainer
from .cycle_trainer import CycleTrainer
from .joint_trainer import JointTrainer
from .parallel import parallel
from .prepare_batch import DomainBatch, RealPair, SyntheticPair

__all__ = [
    "AlternatingTrainer",
    "CycleTrainer",
    "DomainBatch",
    "JointTrainer",
    "RealPair",
    "SyntheticPair",
    "ThreeClassAdversarialTrainer",
    "parallel",
]
