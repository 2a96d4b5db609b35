"""What Ignite and MONAI do not have for this method: stage 1's trainer and the batches of the other stages."""

from .adversarial_trainer import ThreeClassAdversarialTrainer
from .prepare_batch import DomainBatch, SyntheticPair

__all__ = ["DomainBatch", "SyntheticPair", "ThreeClassAdversarialTrainer"]
