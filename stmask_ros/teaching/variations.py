# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A frame as it might have been: nearer, elsewhere in view, mirrored, in another light."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from stmask_ros.families.examples import color_jittered, mirrored
from stmask_ros.families.frames import AnnotatedFrame

# Of the scale; of the shift, as a share of the frame; of the turn [degree].
SCALES, SHIFT, TURN = (0.6, 1.5), 0.2, 8.0
COLOR_JITTER = 0.25
# What lies outside of the picture is filled with this.
GREY = (104, 116, 124)
# Of an object's pixels that stay in view; of others nothing is learned.
VISIBLE = 0.4


def variation(frame: AnnotatedFrame, number: int, seed: int) -> AnnotatedFrame:
    """
    Return variation `number` of a frame, of the same size; 0 is the frame itself.

    Objects of which little stays in view have label 0.
    """
    if number == 0:
        return frame
    rng = np.random.default_rng((seed, number))
    height, width = frame.image.shape[:2]
    transform = cv2.getRotationMatrix2D(
        (width / 2, height / 2), rng.uniform(-TURN, TURN), float(np.exp(rng.uniform(
            *np.log(SCALES)))))
    transform = transform + np.array([(0, 0, side * rng.uniform(-SHIFT, SHIFT))
                                      for side in (width, height)])
    image = cv2.warpAffine(frame.image, transform, (width, height), borderValue=GREY)
    masks = np.array([
        cv2.warpAffine(mask.astype(np.uint8), transform, (width, height)) for mask in frame.masks
    ], bool).reshape(-1, height, width)
    areas = frame.masks.sum((1, 2)) * abs(np.linalg.det(transform[:, :2]))
    cut = masks.sum((1, 2)) < VISIBLE * areas
    varied = replace(
        frame, image=np.asarray(image, np.uint8), masks=masks,
        labels=np.where(cut, 0, frame.labels),
    )
    (varied,) = color_jittered([varied], COLOR_JITTER, rng)
    return mirrored(varied) if rng.integers(2) else varied
