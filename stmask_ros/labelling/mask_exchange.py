# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Mask pictures: the number of a pixel is the track that it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.evaluation.mask_pictures import MASK_SUFFIXES, read_mask_picture
from stmask_ros.labelling.exchange import Found, FoundObject, Picture, Pictures, masks_at
from stmask_ros.labelling.folder import Labels, decoded, encoded, write_picture
from stmask_ros.output_files import whole_file


def write_masks(folder: Path, labels: Labels) -> None:
    """Write a PNG of 16 bits for each picture; where two tracks overlap, the later one wins."""
    folder.mkdir(parents=True)
    for picture in Pictures.of(labels):
        numbers = np.zeros((picture.height, picture.width), np.uint16)
        for track_id, mask in masks_at(labels, picture).items():
            numbers[decoded(mask)] = track_id
        with whole_file(folder / Path(picture.file_name).with_suffix('.png').name) as part:
            write_picture(part, numbers)


def read_masks(folder: Path, pictures: Pictures) -> Found:
    """Read mask pictures, named as the pictures that they are of; DatasetError or OSError."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in MASK_SUFFIXES)
    if not paths:
        raise DatasetError(f'{folder}: expected mask pictures (.png), and found none')
    numbers = [pictures.number(path.name) for path in paths]
    return Found(frozenset(numbers), tuple(
        each for path, number in zip(paths, numbers, strict=True)
        for each in _objects(path, number, pictures[number])))


def _objects(path: Path, number: int, picture: Picture) -> Iterator[FoundObject]:
    labels = read_mask_picture(path)
    if labels.shape != (picture.height, picture.width):
        raise DatasetError(
            f'{path}: {labels.shape[1]}x{labels.shape[0]} pixels, and {picture.file_name} has '
            f'{picture.width}x{picture.height}')
    for track_id in np.unique(labels[labels > 0]).tolist():
        mask = encoded(labels == track_id)
        assert mask is not None
        yield FoundObject(number, '', mask, track_id)
