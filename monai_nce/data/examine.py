"""Keep the name that ``monai_nce.data.scans.examine`` had in version 0.1.0, until 0.3."""

from monai_nce.data.scans.examine import examine

__all__ = ["examine"]
