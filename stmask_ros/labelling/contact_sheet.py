# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One picture of all frames that were chosen, with their masks, and why they were."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.evaluation.annotations import read_frame
from stmask_ros.labelling.exchange import Picture, Pictures, masks_at
from stmask_ros.labelling.folder import IMAGES, Labels, decoded, write_picture
from stmask_ros.masks import RegionMask
from stmask_ros.output_files import whole_file
from stmask_ros.views.overlay import blend, colour_of

CONTACT_SHEET = 'contact_sheet.jpg'

Bgr = npt.NDArray[np.uint8]

_WIDTH, _LINE, _GAP = 320, 20, 8
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK, _PAPER = (40, 40, 40), 245


def write_contact_sheet(path: Path, folder: Path, labels: Labels) -> None:
    """Draw the pictures of a folder in rows, each with its name and reason below it."""
    cells = [_cell(folder, labels, picture) for picture in Pictures.of(labels)]
    columns = max(1, math.ceil(math.sqrt(len(cells))))
    height = max(cell.shape[0] for cell in cells)
    rows = math.ceil(len(cells) / columns)
    sheet = np.full(
        (rows * (height + _GAP) + _GAP, columns * (_WIDTH + _GAP) + _GAP, 3), _PAPER, np.uint8)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        top, left = row * (height + _GAP) + _GAP, column * (_WIDTH + _GAP) + _GAP
        sheet[top:top + cell.shape[0], left:left + _WIDTH] = cell
    with whole_file(path) as part:
        write_picture(part, sheet)


def _cell(folder: Path, labels: Labels, picture: Picture) -> Bgr:
    image = read_frame(folder / IMAGES, picture.file_name).copy()
    for track_id, mask in masks_at(labels, picture).items():
        blend(image, RegionMask.from_full(decoded(mask)), colour_of(track_id))
    height = max(1, round(_WIDTH * picture.height / picture.width))
    small = cv2.resize(image, (_WIDTH, height), interpolation=cv2.INTER_AREA)
    cell = cv2.copyMakeBorder(
        small, 0, 2 * _LINE, 0, 0, cv2.BORDER_CONSTANT, value=(_PAPER,) * 3)
    video = next(each for each in labels.videos if each.id == picture.video_id)
    lines = (Path(picture.file_name).name, video.frames[picture.frame].reason)
    for line, text in enumerate(lines):
        place = (2, height + _LINE * line + 14)
        cv2.putText(cell, text[:52], place, _FONT, 0.4, _INK, 1, cv2.LINE_AA)
    return np.asarray(cell, np.uint8)
