"""Keep the name that ``monai_nce.data.scans.found`` had in version 0.1.0, until 0.3."""

from monai_nce.data.scans.found import find_images

__all__ = ["find_images"]
