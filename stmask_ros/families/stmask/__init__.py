"""STMask (CVPR 2021), from its configuration to its association."""
