"""The lifter node."""
