"""A DICOM node: studies come in, synthetic contrast-enhanced series go out."""
