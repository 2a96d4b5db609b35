"""Virtual patients: pairs of CTs with and without contrast, made from segmentations of real scans."""

from __future__ import annotations
