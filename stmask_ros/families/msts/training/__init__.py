"""Training of MS-STS VIS: clips, matching, losses, the optimiser's groups, the discriminator."""
