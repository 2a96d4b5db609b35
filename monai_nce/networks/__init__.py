"""Networks of the paper: SPADE generator (Fig. 4), three-class discriminator, VGG16-BN domain classifier."""

from .discriminator import Discriminator
from .domain_classifier import DomainClassifier
from .generator import Generator
from .spade import SPADE, SPADEResidualBlock, largest_group_count

__all__ = ["SPADE", "Discriminator", "DomainClassifier", "Generator", "SPADEResidualBlock", "largest_group_count"]
