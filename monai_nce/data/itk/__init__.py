"""MetaImage and NRRD files: read with their headers checked."""
