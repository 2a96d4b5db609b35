"""Find scans on disk, read them, and list the input of an inference."""
