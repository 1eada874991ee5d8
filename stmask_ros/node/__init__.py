"""The segmenter node."""
