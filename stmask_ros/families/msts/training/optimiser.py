"""Which parameters learn, and how fast (specification, section 9)."""

from __future__ import annotations

from stmask_ros.families.msts.network import MSTS
from stmask_ros.layers.backbone import ResNet

# Of an iteration's gradient.
LARGEST_NORM = 0.1
LEARNING_RATE = 2e-4
WEIGHT_DECAY = 1e-4
# Of the learning rate, for the backbone and for what decides where to look.
SLOW = 0.1
_SLOW = ('backbone.', 'reference_points', 'sampling_offsets')


def freeze(network: MSTS) -> list[str]:
    """
    Let what the released code keeps fixed learn nothing; return its convolutions' names.

    Its batch norms keep their factors too: all of a ResNet's, and its stem and first stage.
    """
    if not isinstance(network.backbone, ResNet):
        return []
    frozen = []
    for name, parameter in network.named_parameters():
        if not name.startswith('backbone.'):
            continue
        is_norm = '.bn' in name or '.downsample.1.' in name
        if is_norm or name.startswith(('backbone.conv1.', 'backbone.layers.0.')):
            parameter.requires_grad_(False)
            frozen += [] if is_norm else [name]
    return frozen


def learns_slowly(name: str) -> bool:
    """Return whether a parameter of this name has a tenth of the learning rate."""
    return any(part in name for part in _SLOW)
