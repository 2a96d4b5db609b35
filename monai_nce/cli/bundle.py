"""Tell where the MONAI bundle lies."""

from __future__ import annotations

from monai_nce.cli.run_bundle import bundle_folder

__all__ = ["bundle"]


def bundle() -> None:
    """Print the folder of the MONAI bundle, as in --config_file "$(nce bundle)/configs/inference.json"."""
    print(bundle_folder())
