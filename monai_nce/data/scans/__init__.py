"""Scans as people have them: found below a path, examined, read in Hounsfield units (HU)."""
