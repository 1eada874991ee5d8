"""The configurations of STMask: one frozen dataclass, and the released ones by name."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

Backbone = Literal['resnet50', 'resnet101', 'darknet53', 'efficientnet_lite0']
Calibration = Literal['none', 'ada', 'ali']
Shape = tuple[float, float]


@dataclass(frozen=True)
class STMaskConfig:
    """
    Everything that decides the shapes and the arithmetic of the network.

    num_classes: without the background (the classifier has one logit more, index 0).
    deformable_interval: in the stages C3 to C5 of a ResNet, block 0 and every block divisible by
        this has a modulated deformable 3x3; 0 for none.
    channels: of the feature pyramid, the prototype network and the heads.
    kernels: (height, width) of the last convolution of each branch, one anchor each (FCA).
    anchors: (height, width) of the anchors in cells of their level; None takes the kernels.
    class_calibration, mask_calibration, track_calibration: FCB of that branch; 'ada' predicts
        the sampling offsets from the box (equation 5), 'ali' derives them (equation 6).
    temporal_fusion: whether there is a TemporalNet.
    temporal_channels: of its three convolutions.
    correlation_level, correlation_patch: pyramid level (0 is P3) and side of the local square.
    centerness_order: 'legacy' indexes the centerness scores in the released code's order, which
        its weights expect; 'fixed' in the order of the anchors.
    input_height, input_width: an image is resized to this before it is padded to 32s [pixel].
    """

    backbone: Backbone = 'resnet50'
    num_classes: int = 40
    deformable_interval: int = 0
    channels: int = 256
    num_prototypes: int = 32
    embedding_size: int = 128
    kernels: tuple[tuple[int, int], ...] = ((3, 3), (3, 5), (5, 3))
    anchors: tuple[Shape, ...] | None = None
    class_calibration: Calibration = 'none'
    mask_calibration: Calibration = 'none'
    track_calibration: Calibration = 'none'
    temporal_fusion: bool = True
    temporal_channels: tuple[int, int, int] = (512, 512, 1024)
    correlation_level: int = 1
    correlation_patch: int = 11
    centerness_order: Literal['legacy', 'fixed'] = 'legacy'
    input_height: int = 360
    input_width: int = 640

    @classmethod
    def named(cls, name: str, **changes: Any) -> STMaskConfig:
        """
        Return a configuration by its name in the released code, with fields changed.

        A suffix _YTVIS2021 or _OVIS names the data set, as there. Raises ValueError for an
        unknown name or field, listing the known ones.
        """
        base, num_classes = name, 40
        for suffix, count in (('_YTVIS2021', 40), ('_OVIS', 25)):
            if name.endswith(suffix):
                base, num_classes = name.removesuffix(suffix), count
        if base not in _NAMED:
            raise ValueError(
                f'unknown configuration {name!r}; known: {", ".join(_NAMED)}, '
                'each also with _YTVIS2021 or _OVIS'
            )
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(changes) - known):
            raise ValueError(f'unknown options {unknown}; known: {sorted(known)}')
        return replace(_NAMED[base], **({'num_classes': num_classes} | changes))

    @property
    def anchor_shapes(self) -> tuple[Shape, ...]:
        """(height, width) of the anchors of a cell, in cells of their level."""
        return self.anchors or self.kernels


_R50_DCN = STMaskConfig(backbone='resnet50', deformable_interval=2)
_R101_DCN = STMaskConfig(backbone='resnet101', deformable_interval=3)

# Specification, section 1.
_NAMED = {
    'STMask_base': STMaskConfig(backbone='resnet101'),
    'STMask_plus_base': _R101_DCN,
    'STMask_plus_base_ada': replace(_R101_DCN, class_calibration='ada'),
    'STMask_plus_base_ali': replace(_R101_DCN, class_calibration='ali'),
    'STMask_resnet50': STMaskConfig(backbone='resnet50'),
    'STMask_plus_resnet50': _R50_DCN,
    'STMask_plus_resnet50_ada': replace(_R50_DCN, class_calibration='ada'),
    'STMask_plus_resnet50_ali': replace(_R50_DCN, class_calibration='ali'),
    'STMask_darknet53': STMaskConfig(backbone='darknet53'),
    # Ours: small enough for a CPU.
    'stmask_lite': STMaskConfig(
        backbone='efficientnet_lite0', num_classes=4, channels=64, embedding_size=64,
        class_calibration='ada', temporal_channels=(128, 128, 256), centerness_order='fixed',
    ),
}
