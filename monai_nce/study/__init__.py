"""Run a reader study: physicians grade images without knowing which method made them (section 4.3.2, Fig. 7)."""
