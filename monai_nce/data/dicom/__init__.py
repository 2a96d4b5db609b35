"""DICOM series: decoded, assembled with their geometry checked, and written as derived series."""
