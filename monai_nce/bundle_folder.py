"""Find the bundle that came with this package."""

from __future__ import annotations

from pathlib import Path

__all__ = ["bundle_folder"]


def bundle_folder() -> Path:
    """Return the bundle's folder: in the checkout that this package lies in, or in the package, as a wheel has it."""
    package = Path(__file__).parent
    checkout = package.parent / "bundles" / "nce"
    return checkout if checkout.is_dir() else package / "bundle"
