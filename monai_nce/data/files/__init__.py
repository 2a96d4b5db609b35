"""Files that are there complete or not at all, and folders that are locked while they are written."""
