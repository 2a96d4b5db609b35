"""NIfTI files: read with their header checked, and written atomically in Hounsfield units (HU)."""
