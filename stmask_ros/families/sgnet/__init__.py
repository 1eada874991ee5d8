"""SG-Net (CVPR 2021): SipMask whose masks have more sub-regions, the larger an object is."""
