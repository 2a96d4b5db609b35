"""Write and read data sets on disk: splits, pairs, slice stacks in the order of an epoch."""
