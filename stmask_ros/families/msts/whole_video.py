# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A whole video as one clip, as the released code evaluates it (specification, section 8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stmask_ros.families.family import VideoInstance
from stmask_ros.families.frames import ScaledImage, Size
from stmask_ros.families.msts.grid import Grid
from stmask_ros.families.msts.masks import mask_logits
from stmask_ros.families.msts.network import MSTS
from stmask_ros.families.msts.preprocess import normalised
from stmask_ros.families.msts.selection import Selection, image_logits
from stmask_ros.masks import RegionMask

# Pairs of query and class in the result, as released.
MOST_INSTANCES = 10


def segment_video(
    network: MSTS, images: Sequence[ScaledImage], size: Size, device: torch.device,
    count: int = MOST_INSTANCES, reference: bool = False,
) -> list[VideoInstance]:
    """
    Return the instances of a video, best first.

    images: of one size. size: height and width [pixel] of the masks. count: most instances.
    reference: as the released code does, let unused classes win, and stretch the masks of images
    whose sides are no multiples of 8. A query may be there with several classes; one whose masks
    are empty in all frames is left out. Memory grows with the length of the video.
    """
    seen = images[0].geometry.scaled
    grid = Grid.unpadded(seen, network.config.channels, device)
    memory, features = _encoded(network, images, grid, device)
    last = network.decoder(memory, grid)[-1]
    chosen = Selection.of(last.logits[0], count, reference)
    queries, rows = chosen.distinct_queries()
    parameters = network.mask_parameters(last, 0, queries)
    centers = network.mask_centers(last, 0, queries, grid)
    masks = []
    for k in range(len(queries)):  # one at a time: at the video's size, they are large
        logits = mask_logits(features, parameters[k:k + 1], centers[:, k:k + 1])
        pixels = image_logits(logits, size, None if reference else seen)[0].sigmoid() > 0.5
        masks.append(tuple(RegionMask.from_full(frame) for frame in pixels.cpu().numpy()))
    return [
        VideoInstance(int(label), float(score), masks[row])
        for label, score, row in zip(
            chosen.classes.tolist(), chosen.scores.tolist(), rows.tolist(), strict=True)
        if any(mask.area for mask in masks[row])
    ]


def _encoded(
    network: MSTS, images: Sequence[ScaledImage], grid: Grid, device: torch.device
) -> tuple[Tensor, Tensor]:
    # Memory [1, T, S, C] and mask features [T, 8, h, w], frame by frame where they allow it.
    frames = [network.frame(normalised([_rgb(image)], device), grid) for image in images]
    tokens, *features = (torch.cat(parts) for parts in zip(*frames, strict=True))
    if features:
        return tokens[None], features[0]
    memory = network.memory(tokens[None], grid)[0]
    return memory[None], torch.cat([network.mask_features(frame[None], grid) for frame in memory])


def _rgb(image: ScaledImage) -> np.ndarray:
    return np.ascontiguousarray(image.pixels[..., ::-1])
