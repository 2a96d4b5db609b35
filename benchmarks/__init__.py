"""What the project claims about itself, measured again by anyone: ``python -m benchmarks.NAME``."""
