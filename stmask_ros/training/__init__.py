"""Training on pairs of frames: data, synthetic clips, and the loop."""
