"""The series made on the spot serve here as well."""

from __future__ import annotations

from tests.data.conftest import hu, write_series

__all__ = ["hu", "write_series"]
