"""Neural contrast enhancement of CT on MONAI: a non-enhanced scan goes in, its contrast-enhanced counterpart comes out.

A reimplementation of the two-stage method of Seo et al., "Neural Contrast Enhancement of CT Image", WACV 2021. The
first stage trains an auxiliary generator that takes contrast out of CECT images; the second trains the target network
on the aligned pairs that this yields. The parts live in the subpackages; the bundle's JSON puts them together.

Importing this package loads nothing else, so that its version can be read where torch is not installed.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
