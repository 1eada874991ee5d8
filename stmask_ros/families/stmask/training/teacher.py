# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Another detector, whose predictions for the same images are learned: distillation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from stmask_ros.families.errors import TrainingError
from stmask_ros.families.frames import Image
from stmask_ros.families.stmask.preprocess import Extent

# Boxes of an image that are looked at, the surest, and the least score of any class.
MOST_BOXES = 300
LEAST_SCORE = 0.02
# From here on a box is an object, if none that is surer overlaps it as much.
OBJECT_SCORE = 0.3
SAME_OBJECT = 0.6
# Boxes may reach out of the image; pixels are larger numbers.
FARTHEST = 4.0


@dataclass(frozen=True)
class TeacherPredictions:
    """
    What a teacher predicts for an image.

    scores: [N, classes], in [0, 1]. boxes: [N, 4], corners as fractions of the image. objects:
    int64 [M], the rows that are one object each; their class is that of the highest score.
    """

    scores: Tensor
    boxes: Tensor
    objects: Tensor

    @classmethod
    def of(cls, scores: Tensor, boxes: Tensor) -> TeacherPredictions:
        """Keep the surest of all boxes [A, 4] with their scores [A, classes]."""
        best, rows = scores.amax(1).topk(min(MOST_BOXES, len(scores)))
        rows = rows[best >= LEAST_SCORE]
        scores, boxes = scores[rows], boxes[rows].clamp(0, 1)
        best, classes = scores.max(1)
        apart = batched_nms(boxes, best, classes, SAME_OBJECT)
        return cls(scores, boxes, apart[best[apart] >= OBJECT_SCORE])

    def within(self, extent: Extent) -> TeacherPredictions:
        """Return them with boxes as fractions of the padded input; extent: of the image in it."""
        scale = self.boxes.new_tensor((extent.width, extent.height) * 2)
        return replace(self, boxes=self.boxes * scale)

    def to(self, device: torch.device) -> TeacherPredictions:
        """Return the same on a device."""
        return TeacherPredictions(
            self.scores.to(device), self.boxes.to(device), self.objects.to(device))


class Teacher:
    """
    A detector in an ONNX file, on the CPU.

    Its input is one image, float32 BGR [1, 3, H, W] in 0 to 255, of a fixed size to which images
    are stretched; its outputs are scores [1, A, classes], after the sigmoid, and boxes [1, A, 4],
    corners as fractions of the image.
    """

    def __init__(self, path: Path, num_classes: int) -> None:
        """Load it; TrainingError for a file that is no such detector of the network's classes."""
        try:
            import onnxruntime
        except ImportError as error:
            raise TrainingError('a teacher needs ONNX Runtime: pip install onnxruntime') from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=['CPUExecutionProvider'])
        except Exception as error:  # of many kinds, which ONNX Runtime does not document
            raise TrainingError(f'teacher: {path} cannot be read: {error}') from error
        images = self._session.get_inputs()
        shape = images[0].shape if len(images) == 1 else []
        if len(shape) != 4 or shape[:2] != [1, 3] or not all(isinstance(n, int) for n in shape):
            raise TrainingError(
                f'teacher: {path}: expected one input [1, 3, H, W] of a fixed size, got '
                f'{[image.shape for image in images]}')
        self._input, self._size = images[0].name, (shape[3], shape[2])
        self._check(path, num_classes)

    def _check(self, path: Path, num_classes: int) -> None:
        outputs = [list(output.shape) for output in self._run(np.zeros((32, 32, 3), np.uint8))]
        cells = outputs[0][1] if outputs and len(outputs[0]) == 3 else 0
        if outputs != [[1, cells, num_classes], [1, cells, 4]]:
            raise TrainingError(
                f'teacher: {path}: expected outputs [1, A, {num_classes}], the scores of the '
                f"network's classes, and [1, A, 4], boxes, got {outputs}")

    def __call__(self, images: Sequence[Image]) -> list[TeacherPredictions]:
        """
        Return what it predicts for images, uint8 BGR [H, W, 3].

        Raises TrainingError for scores that are no probabilities, and boxes that are no fractions.
        """
        return [self._predicted(image) for image in images]

    def _predicted(self, image: Image) -> TeacherPredictions:
        scores, boxes = (torch.from_numpy(output[0]) for output in self._run(image))
        # Written so that NaN is refused too.
        if not ((scores >= 0) & (scores <= 1)).all():
            raise TrainingError(
                'teacher: expected scores in 0 to 1, after the sigmoid, got '
                f'{float(scores.min()):.3g} to {float(scores.max()):.3g}')
        if not (boxes.abs() <= FARTHEST).all():
            raise TrainingError(
                'teacher: expected boxes as fractions of the image, not pixels, got '
                f'{float(boxes.min()):.3g} to {float(boxes.max()):.3g}')
        return TeacherPredictions.of(scores, boxes)

    def _run(self, image: Image) -> list[npt.NDArray[np.float32]]:
        pixels = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)
        outputs: list[npt.NDArray[np.float32]] = self._session.run(None, {self._input: planes})
        return outputs
