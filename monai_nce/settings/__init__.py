"""Settings of the bundle: what each may be, checked before any work, and the documentation's table of them."""

from __future__ import annotations

from monai_nce.settings.check import EXPRESSIONS, check_settings, parse_number, text_settings
from monai_nce.settings.schema import SEPARATOR

__all__ = ["EXPRESSIONS", "SEPARATOR", "check_settings", "parse_number", "text_settings"]
