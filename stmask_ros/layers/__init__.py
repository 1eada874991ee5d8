"""Layers and box arithmetic that the families share. Torch only."""
