"""Networks of the paper: SPADE generator (Fig. 4), three-class discriminator, VGG16-BN classifier; a registration."""

from .discriminator import Discriminator
from .domain_classifier import DomainClassifier
from .generator import Generator
from .spade import SPADE, SPADEResidualBlock, largest_group_count
from .stack_registration import StackRegistration

__all__ = [
    "SPADE",
    "Discriminator",
    "DomainClassifier",
    "Generator",
    "SPADEResidualBlock",
    "StackRegistration",
    "largest_group_count",
]
