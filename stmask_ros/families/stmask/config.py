# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The configurations of STMask: one frozen dataclass, and the released ones by name."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

Backbone = Literal['resnet50', 'resnet101', 'darknet53', 'efficientnet_lite0', 'csp']
Calibration = Literal['none', 'ada', 'ali']
Feature = Literal['pyramid', 'upfeature']
Detection = Literal['calibrated', 'distances']
Shape = tuple[float, float]


@dataclass(frozen=True)
class STMaskConfig:
    """
    Everything that decides the shapes and the arithmetic of the network.

    backbone: 'csp' is NanoDet-g's, with the pyramid that goes with it; its prototypes are made of
        stride 4 and 8.
    detection: 'distances' is a detection head of another kind, which a backbone brings with it:
        see DistanceHead. It has one kernel, which is spread over the boxes.
    num_classes: without the background (the classifier has one logit more, index 0).
    class_outputs: of a head of distances, how many sigmoids each class has, the largest of which
        is its score: a class that was merged of several has theirs. () for one each.
    mask_branches: of a head of distances, the mask branch of each class, from 0: classes that
        were taught later have one of their own. () for one of all.
    deformable_interval: in the stages C3 to C5 of a ResNet, block 0 and every block divisible by
        this has a modulated deformable 3x3; 0 for none.
    channels: of the feature pyramid, the prototype network and the heads.
    shape_order: S, of the S * S shapes across a box that add to its mask, see masks.mask_logits;
        0, as in the paper, for none.
    kernels: (height, width) of the last convolution of each branch, 1 to 5 cells each, one anchor
        a kernel (FCA).
    anchors: (height, width) of the anchors in cells of their level; None takes the kernels.
    class_calibration, mask_calibration, track_calibration: FCB of that branch; 'ada' predicts
        the sampling offsets from the box (equation 5), 'ali' derives them (equation 6).
    calibration_layers: 'two' follows FCB's deformable convolution with a plain one, as released;
        'one' predicts with the deformable one, as the first public code did.
    temporal_fusion: whether there is a TemporalNet.
    temporal_channels: of its three convolutions.
    temporal_roi: 'fixed' pools an object's features in its box; 'legacy' in a cell or less at the
        top left of the map, as the public code did until June 2021.
    correlation_level, correlation_patch: pyramid level (0 is P3) and side of the local square.
    correlated, concatenated: which maps of that level temporal fusion compares and which it
        passes on: of the pyramid, or of the head's first convolution.
    centerness_order: 'legacy' indexes the centerness scores in the released code's order, which
        its weights expect; 'fixed' in the order of the anchors; 'none' is a head without
        centerness, as in the paper.
    mask_activation: of the coefficients, before they meet the prototypes.
    variances: factors on the (center, size) deltas of boxes; (1, 1) in the paper's equations.
    input_height, input_width: an image is resized to this before it is padded to 32s [pixel].
    """

    backbone: Backbone = 'resnet50'
    detection: Detection = 'calibrated'
    num_classes: int = 40
    class_outputs: tuple[int, ...] = ()
    mask_branches: tuple[int, ...] = ()
    deformable_interval: int = 0
    channels: int = 256
    num_prototypes: int = 32
    shape_order: int = 0
    embedding_size: int = 128
    kernels: tuple[tuple[int, int], ...] = ((3, 3), (3, 5), (5, 3))
    anchors: tuple[Shape, ...] | None = None
    class_calibration: Calibration = 'none'
    mask_calibration: Calibration = 'none'
    track_calibration: Calibration = 'none'
    calibration_layers: Literal['one', 'two'] = 'two'
    temporal_fusion: bool = True
    temporal_channels: tuple[int, int, int] = (512, 512, 1024)
    temporal_roi: Literal['fixed', 'legacy'] = 'fixed'
    correlation_level: int = 1
    correlation_patch: int = 11
    correlated: Feature = 'pyramid'
    concatenated: Feature = 'upfeature'
    centerness_order: Literal['legacy', 'fixed', 'none'] = 'legacy'
    mask_activation: Literal['tanh', 'none'] = 'tanh'
    variances: tuple[float, float] = (0.1, 0.2)
    input_height: int = 360
    input_width: int = 640

    def __post_init__(self) -> None:
        """Raise ValueError for options that do not exist or do not go together."""
        for field in fields(self):
            choices = _CHOICES.get(field.name)
            if choices and getattr(self, field.name) not in choices:
                raise ValueError(
                    f'{field.name}: expected {" or ".join(choices)}, '
                    f'got {getattr(self, field.name)!r}'
                )
        if self.anchors is not None and len(self.anchors) != len(self.kernels):
            raise ValueError(
                f'expected an anchor for each of {len(self.kernels)} kernels, '
                f'got {len(self.anchors)}'
            )
        if not all(1 <= side <= 5 for kernel in self.kernels for side in kernel):
            raise ValueError(f'kernels: expected sides of 1 to 5, got {self.kernels}')
        if self.detection == 'distances' and (len(self.kernels) > 1 or self.backbone != 'csp'):
            raise ValueError(
                "detection: 'distances' takes one kernel and the backbone 'csp', got "
                f'{len(self.kernels)} and {self.backbone!r}'
            )
        self._check_of_classes('class_outputs', 1)
        self._check_of_classes('mask_branches', 0)
        calibrated = {self.class_calibration, self.mask_calibration, self.track_calibration}
        if calibrated != {'none'} and any(side % 2 == 0 for k in self.kernels for side in k):
            raise ValueError(f'FCB takes kernels of odd sides, got {self.kernels}')
        if self.correlation_patch % 2 == 0:
            raise ValueError(f'correlation_patch: expected odd, got {self.correlation_patch}')

    def _check_of_classes(self, option: str, least: int) -> None:
        values: tuple[int, ...] = getattr(self, option)
        if values and (
            self.detection != 'distances' or len(values) != self.num_classes
            or min(values) < least
        ):
            raise ValueError(
                f"{option}: expected with detection 'distances', for {self.num_classes} "
                f'classes, {least} or more each, got {values}'
            )

    @classmethod
    def named(cls, name: str, **changes: Any) -> STMaskConfig:
        """
        Return a configuration by its name, with fields changed.

        The names are those of the released code, where a suffix _YTVIS2021 or _OVIS tells the
        data set; stmask_lite; and the rows of the paper's tables (see docs/models.md). Raises
        ValueError for an unknown name or field, listing the known ones.
        """
        base, preset = name, {}
        for suffix, count in (('_YTVIS2021', 40), ('_OVIS', 25)):
            if name.endswith(suffix):
                base, preset = name.removesuffix(suffix), {'num_classes': count}
        if base not in _NAMED:
            raise ValueError(
                f'unknown configuration {name!r}; known: {", ".join(_NAMED)}, '
                'each also with _YTVIS2021 or _OVIS at its end'
            )
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(changes) - known):
            raise ValueError(f'unknown options {unknown}; known: {sorted(known)}')
        changes = {option: _as_tuples(value) for option, value in changes.items()}
        return replace(_NAMED[base], **(preset | changes))

    @classmethod
    def names(cls) -> list[str]:
        """Return a name of each distinct configuration, the released ones first."""
        distinct = {config: name for name, config in reversed(_NAMED.items())}
        return [name for name in _NAMED if name in distinct.values()]

    @property
    def num_coefficients(self) -> int:
        """What a mask is made of: prototypes and shapes."""
        return self.num_prototypes + self.shape_order**2

    @property
    def outputs_of_classes(self) -> tuple[int, ...]:
        """How many outputs each class has."""
        return self.class_outputs or (1,) * self.num_classes

    @property
    def branches_of_classes(self) -> tuple[int, ...]:
        """The mask branch of each class."""
        return self.mask_branches or (0,) * self.num_classes

    @property
    def anchor_shapes(self) -> tuple[Shape, ...]:
        """(height, width) of the anchors of a cell, in cells of their level."""
        return self.anchors or self.kernels


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value


_CHOICES: dict[str, tuple[str, ...]] = {
    name: get_args(kind) for name, kind in get_type_hints(STMaskConfig).items()
    if get_origin(kind) is Literal
}

_R50_DCN = STMaskConfig(backbone='resnet50', deformable_interval=2)
_R101_DCN = STMaskConfig(backbone='resnet101', deformable_interval=3)

# What NanoDet-g brings: 80 classes, and 128 channels in the pyramid.
_CSP = STMaskConfig(
    backbone='csp', num_classes=80, channels=128, embedding_size=64, concatenated='pyramid',
    temporal_channels=(128, 128, 256), input_height=288, input_width=512,
)

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
    'stmask_lite_csp': replace(
        _CSP, class_calibration='ada', centerness_order='fixed',
    ),
    'stmask_lite_distances': replace(
        _CSP, detection='distances', kernels=((5, 5),), anchors=((1.0, 1.0),),
        centerness_order='none', shape_order=4,
    ),
}

# The paper's baseline: three anchors of one area at each cell, all seen by a 3x3.
_YOLACT = replace(
    _R101_DCN, kernels=((3, 3),) * 3, temporal_fusion=False,
    anchors=((3.0, 3.0), (3 / 2**0.5, 3 * 2**0.5), (3 * 2**0.5, 3 / 2**0.5)),
)
_FCA = replace(_R101_DCN, temporal_fusion=False)


def _calibrated(
    config: STMaskConfig, kind: Calibration, branches: str, temporal_fusion: bool = False
) -> STMaskConfig:
    def choose(branch: str) -> Calibration:
        return kind if branch in branches.split('_') else 'none'

    return replace(
        config, class_calibration=choose('class'), mask_calibration=choose('mask'),
        track_calibration=choose('track'), temporal_fusion=temporal_fusion,
    )


# Tables 1 to 5 of the paper; FCB(ada) alone means all three branches there, FCB(ali) two.
_PAPER_FCB: tuple[tuple[Calibration, str], ...] = (
    ('ada', 'class_mask_track'), ('ali', 'mask_track')
)
_NAMED |= {
    'paper_yolact': _YOLACT,
    'paper_fca_3x2': replace(_FCA, kernels=((3, 3), (3, 2), (2, 3))),
    'paper_fca': _FCA,
    'paper_yolact_tf': replace(_YOLACT, temporal_fusion=True),
    'paper_fca_tf_p3': replace(
        _FCA, temporal_fusion=True, correlation_level=0, correlation_patch=13
    ),
    'paper_fca_tf_p4': replace(_FCA, temporal_fusion=True),
}
_NAMED |= {
    f'paper_fca_{kind}_{branches}': _calibrated(_FCA, kind, branches)
    for kind in get_args(Calibration)[1:]
    for branches in ('class_mask_track', 'class_mask', 'class_track', 'mask_track')
}
_NAMED |= {
    f'paper_fca_fcb_{kind}_tf': _calibrated(_FCA, kind, branches, temporal_fusion=True)
    for kind, branches in _PAPER_FCB
}
_NAMED |= {
    f'paper_yolact_fcb_{kind}': _calibrated(_YOLACT, kind, branches)
    for kind, branches in _PAPER_FCB
}
