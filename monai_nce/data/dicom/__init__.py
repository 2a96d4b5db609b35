"""Read DICOM series with their geometry checked, and write derived ones."""
