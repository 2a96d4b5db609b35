"""Tell where the MONAI bundle lies."""

from __future__ import annotations

from monai_nce.cli.run_bundle import bundle_folder

__all__ = ["bundle"]


def bundle() -> None:
    """Print the folder of the MONAI bundle, as for python -m monai.bundle run ... --bundle_root "$(nce bundle)"."""
    print(bundle_folder())
