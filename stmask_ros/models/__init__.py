"""Model files: descriptions, weights, and checkpoints of others."""
