# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a head learns from, of one picture: features of its cells, and what they should say."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stmask_ros.families.examples import resized_frame
from stmask_ros.families.frames import AnnotatedFrame
from stmask_ros.families.stmask.distance_head import DistanceHead
from stmask_ros.families.stmask.inference import prepared_for_inference
from stmask_ros.families.stmask.network import Predictions, STMask
from stmask_ros.families.stmask.preprocess import preprocess
from stmask_ros.families.stmask.training.box_losses import found_objects
from stmask_ros.families.stmask.training.examples import targets_of
from stmask_ros.families.stmask.training.targets import FrameTargets
from stmask_ros.layers.boxes import box_iou

# From here on, in IoU, a cell's box is on its object; below the other, it is on the background.
ON_OBJECT, ON_BACKGROUND = 0.5, 0.3


@dataclass(frozen=True)
class Lesson:
    """
    A picture, on the host; features and prototypes are float16.

    cells: features of all A cells, [A, channels], as their outputs take them. labels: int64 [A],
    the class after of the object that a cell's box is on, 0 for none, -1 for cells of which
    nothing is learned. quality: [A], IoU of box and object.
    known: [A], the best score of the classes before.
    prototypes: [H / 4, W / 4, P]. regions: [N, channels, h, w], features of some boxes [N, 4] on
    objects. masks: bool [N, H, W], of those.
    """

    cells: Tensor
    labels: Tensor
    quality: Tensor
    known: Tensor
    prototypes: Tensor
    regions: Tensor
    boxes: Tensor
    masks: Tensor


class LessonMaker:
    """Makes lessons with a network that stays as it is."""

    def __init__(self, network: STMask, device: torch.device) -> None:
        """Prepare a copy of the network on a device."""
        self._network = prepared_for_inference(network, device)
        self._device = device

    @torch.inference_mode()
    def __call__(self, frame: AnnotatedFrame) -> Lesson:
        """See ClassTeaching.teacher."""
        network = self._network
        frame = resized_frame(frame, (network.config.input_height, network.config.input_width))
        targets = targets_of(frame).to(self._device)
        now = network(preprocess([frame.image], network.config, self._device))
        assert isinstance(network.head, DistanceHead)
        labels, quality = _labels(now.boxes[0], targets)
        regions, boxes, masks = self._objects(network.head, now, targets)
        return Lesson(*(_kept(tensor) for tensor in (
            network.head.hidden(now.pyramid)[0], labels, quality,
            now.head.probabilities(0).amax(1), now.prototypes[0], regions, boxes, masks,
        )))

    def _objects(
        self, head: DistanceHead, now: Predictions, targets: FrameTargets
    ) -> tuple[Tensor, Tensor, Tensor]:
        positives = found_objects(now.boxes, [targets])
        regions = head.regions_of(now.head, positives.frames, positives.anchors)
        boxes = now.boxes[0][positives.anchors]
        return regions, boxes, targets.masks[positives.objects]


def _labels(boxes: Tensor, targets: FrameTargets) -> tuple[Tensor, Tensor]:
    """Return labels int64 [A] and quality [A] of cells with these boxes [A, 4]."""
    if len(targets.boxes) == 0:
        return boxes.new_zeros(len(boxes), dtype=torch.int64), boxes.new_zeros(len(boxes))
    quality, owner = box_iou(targets.boxes, boxes).max(0)
    labels = targets.labels[owner].masked_fill(quality < ON_BACKGROUND, 0)
    unclear = (quality >= ON_BACKGROUND) & ((quality < ON_OBJECT) | (labels == 0))
    return labels.masked_fill(unclear, -1), quality


def _kept(tensor: Tensor) -> Tensor:
    return (tensor.half() if tensor.is_floating_point() else tensor).cpu().clone()
