"""Neural contrast enhancement of CT on MONAI: a non-enhanced scan goes in, its contrast-enhanced counterpart comes out.

A reimplementation of the two-stage method of Seo et al., "Neural Contrast Enhancement of CT Image", WACV 2021. The
first stage trains an auxiliary generator that takes contrast out of CECT images; the second trains the target network
on the aligned pairs that this yields. The parts live in the subpackages; the bundle's JSON puts them together.

    >>> from monai_nce import enhance  # a scan, from Python

Importing this package loads nothing else, so that its version can be read where torch is not installed.
"""

from __future__ import annotations

from importlib import import_module

__all__ = ["Enhanced", "__version__", "enhance"]

__version__ = "0.2.0"


def __getattr__(name: str) -> object:
    """Load what stands in the package's name only when it is asked for (PEP 562)."""
    if name in ("Enhanced", "enhance"):
        return getattr(import_module(f"{__name__}.python_api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
