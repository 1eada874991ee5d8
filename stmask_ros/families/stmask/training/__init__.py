"""What training STMask needs: targets, losses, and the step."""
