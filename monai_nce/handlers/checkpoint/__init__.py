"""Checkpoints of a training: saved at any moment, read back whole, and gone on from."""
