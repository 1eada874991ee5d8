"""What SG-Net learns beside what SipMask does: where objects were in the frame before."""
