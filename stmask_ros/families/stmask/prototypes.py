"""The prototype network: P3 in, prototypes of stride 4 out (specification, section 5)."""

from __future__ import annotations

from torch import Tensor, nn


class PrototypeNet(nn.Sequential):
    """Convolutions, a bilinear doubling, and a 1x1 to the prototypes, which are never negative."""

    def __init__(self, channels: int, num_prototypes: int) -> None:
        """Create the layers at the indices that the released weights name."""
        def conv() -> nn.Conv2d:
            return nn.Conv2d(channels, channels, 3, padding=1)

        super().__init__(
            conv(), nn.ReLU(inplace=True),
            conv(), nn.ReLU(inplace=True),
            conv(), nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False),
            nn.Identity(),  # a ReLU in the released code, of values that are not negative
            conv(), nn.ReLU(inplace=True),
            nn.Conv2d(channels, num_prototypes, 1), nn.ReLU(inplace=True),
        )

    def forward(self, p3: Tensor) -> Tensor:
        """[B, channels, H / 8, W / 8] -> [B, H / 4, W / 4, num_prototypes]."""
        for layer in self:
            p3 = layer(p3)
        return p3.permute(0, 2, 3, 1).contiguous()
