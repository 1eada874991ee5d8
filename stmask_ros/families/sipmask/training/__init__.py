"""What SipMask learns from: targets, losses, and how its parameters are updated."""
