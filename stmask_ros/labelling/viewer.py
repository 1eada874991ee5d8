# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a model knows of the pictures of a folder: masks of what is clicked, and where it goes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch

from stmask_ros.evaluation.annotations import read_frame
from stmask_ros.families.errors import ModelError
from stmask_ros.families.family import PrototypeMaps, PrototypeStepper
from stmask_ros.labelling.exchange import Picture
from stmask_ros.labelling.folder import IMAGES
from stmask_ros.labelling.following import TemplateMatch, followed
from stmask_ros.labelling.proposal import (
    Bgr,
    Cells,
    Click,
    Hints,
    box_of,
    carried,
    clicked_parts,
    proposed,
    refined,
)
from stmask_ros.masks import BoolArray
from stmask_ros.tracking.segmenter import VideoSegmenter

# Of pictures: whose maps are kept, and that are kept to carry masks through.
_KEPT, _KEPT_SMALL = 6, 64
# Longest side of a picture that masks are carried through [pixel].
_SIDE = 1280
# Around a mask that was carried: what is decided again, and on a part of which side [pixel].
_BAND, _CUT_SIDE = 2, 240
# Of a candidate in its picture: a thing that was clicked is rarely larger.
_LARGEST_CANDIDATE = 0.5


@dataclass(frozen=True)
class _Seen:
    maps: PrototypeMaps
    cells: Cells
    candidates: tuple[BoolArray, ...]


class Viewer:
    """A model that looks at the pictures of a folder; several threads may ask it."""

    def __init__(self, folder: Path, segmenter: VideoSegmenter) -> None:
        """Raise ModelError if the model's masks are not made of prototypes."""
        stepper = segmenter.stepper
        if not isinstance(stepper, PrototypeStepper):
            raise ModelError(
                f'{segmenter.model_name} shows no prototypes to fit clicks to: label with a model '
                'of the family stmask, such as stmask_lite')
        self._stepper = stepper
        self._segmenter = segmenter
        self._folder = folder
        self._turn = threading.Lock()
        self._seen = lru_cache(_KEPT)(self._look)
        self._small = lru_cache(_KEPT_SMALL)(self._reduced)

    def proposed(self, picture: Picture, hints: Hints) -> BoolArray:
        """Return the mask, bool [H, W], of a thing of which there are hints."""
        return proposed(self._seen(picture).cells, hints)

    def candidate(self, picture: Picture, click: Click) -> BoolArray | None:
        """Return the clicked part of the surest mask that the model has there; None without."""
        row, column = int(click.y), int(click.x)
        masks = self._seen(picture).candidates
        found = (clicked_parts(mask, (click,)) for mask in masks if mask[row, column])
        return next(found, None)

    def carried(self, mask: BoolArray, pictures: Sequence[Picture]) -> Iterator[BoolArray]:
        """
        Yield the masks of a thing in the pictures after the first, until it is not found.

        It is known by its pixels where these are found again, else its box goes on by temporal
        fusion. mask: in the first picture. All pictures are of one video.
        """
        size = (pictures[0].width, pictures[0].height)
        image = self._small(pictures[0])
        match = TemplateMatch.first(image, _scaled(mask, image.shape[1::-1]))
        for before, now in pairwise(pictures):
            image = self._small(now)
            if (again := followed(match, image)) is not None:
                match = again.refined(
                    refined(image, again.here.mask, widest=_BAND, side=_CUT_SIDE))
            else:
                fused = self._fused(before, _scaled(match.here.mask, size), now)
                match = TemplateMatch.first(image, _scaled(fused, image.shape[1::-1]))
            if not match.here.mask.any():
                return
            yield _scaled(match.here.mask, size)

    def _fused(self, before: Picture, mask: BoolArray, now: Picture) -> BoolArray:
        """Return the mask of a thing in the picture that follows, by temporal fusion."""
        first, second = self._seen(before), self._seen(now)
        old = box_of(mask, before)
        with torch.inference_mode():
            new = self._stepper.carried_boxes(first.maps, second.maps, old)
        columns, rows = ((new[0, :2] + new[0, 2:]) - (old[0, :2] + old[0, 2:])) / 2
        return carried(first.cells, mask, second.cells, (float(rows), float(columns)))

    def _read(self, picture: Picture) -> Bgr:
        size = (picture.height, picture.width)
        return read_frame(self._folder / IMAGES, picture.file_name, size)

    def _reduced(self, picture: Picture) -> Bgr:
        image = self._read(picture)
        scale = min(1.0, _SIDE / max(image.shape[:2]))
        return np.asarray(
            cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)

    @torch.inference_mode()
    def _look(self, picture: Picture) -> _Seen:
        size, image = (picture.height, picture.width), self._read(picture)
        with self._turn:
            maps = self._stepper.prototype_maps(self._stepper.scaled(image))
            (result,), _ = self._segmenter.step([image], [self._segmenter.initial_state()])
        order = np.argsort(-result.scores, kind='stable').tolist()
        masks = (result.masks[i].to_full(*size) for i in order)
        most = _LARGEST_CANDIDATE * picture.height * picture.width
        return _Seen(
            maps, Cells.of(image, maps.prototypes),
            tuple(mask for mask in masks if mask.sum() <= most))


def _scaled(mask: BoolArray, size: tuple[int, int]) -> BoolArray:
    """Return a mask at another width and height."""
    if mask.shape[::-1] == size:
        return mask
    return np.asarray(cv2.resize(mask.astype(np.float32), size) > 0.5)
