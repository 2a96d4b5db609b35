"""The data set on disk: its writer and reader, splits, pairs, slice stacks in the order of an epoch."""
