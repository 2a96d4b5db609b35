"""Weights of a network in a file that says what they were trained for."""
