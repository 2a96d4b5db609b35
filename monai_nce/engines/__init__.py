"""Trainers, batches and precision that Ignite and MONAI do not have."""

from .adversarial_trainer import ThreeClassAdversarialTrainer
from .alternating_iteration import AlternatingIteration
from .alternating_trainer import AlternatingTrainer
from .amp import Precision
from .compiled import compiled
from .cycle_trainer import CycleTrainer
from .image_buffer import ImageBuffer
from .joint_registration_trainer import JointRegistrationTrainer
from .joint_trainer import JointTrainer
from .parallel import bare, end_processes, parallel
from .prepare_batch import DomainBatch, RealPair, SyntheticPair, VolumePair
from .registered_trainer import RegisteredTrainer
from .supervised_iteration import SupervisedIteration
from .validation_share import ValidationShare
from .volume_evaluator import VolumeEvaluator

__all__ = [
    "AlternatingIteration",
    "AlternatingTrainer",
    "CycleTrainer",
    "DomainBatch",
    "ImageBuffer",
    "JointRegistrationTrainer",
    "JointTrainer",
    "Precision",
    "RealPair",
    "RegisteredTrainer",
    "SupervisedIteration",
    "SyntheticPair",
    "ThreeClassAdversarialTrainer",
    "ValidationShare",
    "VolumeEvaluator",
    "VolumePair",
    "bare",
    "compiled",
    "end_processes",
    "parallel",
]
